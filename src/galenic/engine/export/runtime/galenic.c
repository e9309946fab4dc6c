/* The solver of exported models; see galenic.h.

   Adaptive: Rodas5P, an 8-stage Rosenbrock method of order 5(4) for stiff equations and index-1
   algebraic ones (G. Steinebach, BIT Numer. Math. 63, 27, 2023), with the exact sparse Jacobian.
   Fixed step: the classical Runge-Kutta method of order 4, algebraic quantities by Newton.
   Rules are found in 8 places of each step and located by steps of the method itself. */
#include "galenic.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { STAGES = 8, PLACES = 8, ROUNDS = 1000, BURST = 40, NEWTON = 60, WORK = 100000 };

static const double GAMMA = 0.21193756319429014;
static const double A[6][5] = {
    {0},
    {3.0},
    {2.849394379747939, 0.45842242204463923},
    {-6.954028509809101, 2.489845061869568, -10.358996098473584},
    {2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641},
    {-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256,
     0.030198172008377946}};
static const double C[8][7] = {
    {0},
    {-14.155112264123755},
    {-17.97296035885952, -2.859693295451294},
    {147.12150275711716, -1.41221402718213, 71.68940251302358},
    {165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306},
    {24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125,
     -0.6610691825249471},
    {30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783,
     -19.097331116725623, -28.087943162872662},
    {37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047,
     -40.06618937091002, -54.66780262877968, -9.48861652309627}};
static const double AT[8] = {0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716,
                             0.4288403609558664, 1.0, 1.0, 1.0};
static const double BY_TIME[8] = {0.21193756319429014, -0.42387512638858027, -0.3384627126235924,
                                  1.8046452872882734, 2.325825639765069, 0.0, 0.0, 0.0};
static const double H[3][8] = {
    {25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
     0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493},
    {-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
     20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372},
    {11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
     -52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722}};

/* All that a run remembers lies in one row of numbers, beginning with these. */
enum { TIME, BEGAN, STEP, FIXED, RTOL, STARTED, ENDED, STALE, STEPS, EVENTS, MET, HEAD };

struct galenic_run {
  const galenic_model *model;
  int n;                     /* nx + nz */
  double *saved;
  double *x, *z, *u, *p;     /* z follows x */
  double *given;             /* nx: start values from outside */
  double *due;               /* rules: how often a scheduled rule has come */
  double *burst, *burst_at;  /* rules: events close together */
  double *armed, *size;      /* triggers: may fire; largest level since the last event */
  double *leaving;           /* triggers: at zero after an event, on the way below it */
  int fresh;                 /* partials are those of the present point */
  double *values, *by_time;  /* partials */
  double *slope;             /* rhs at the present point */
  double *k;                 /* STAGES * n */
  double *stage, *right, *next, *column, *row_scale, *column_scale;
  double *after, *begin_levels, *levels, *tried, *y, *zeros;
  double *lower, *upper, *pivot;
  int *pivot_row, *placed, *lower_start, *lower_row, *upper_start, *upper_at, *may, *fired;
};

static size_t saved_count(const galenic_model *m) {
  return (size_t)(HEAD + 2 * m->nx + m->nz + m->nu + m->np + 3 * m->events + 3 * m->triggers);
}

static size_t work_count(const galenic_model *m) {
  size_t n = (size_t)(m->nx + m->nz);
  return (size_t)m->jacobian.nonzeros + (STAGES + 10) * n + (size_t)m->nx +
         3 * (size_t)m->triggers + (size_t)(m->nu + m->np + m->ny) + (size_t)m->jacobian.lower +
         (size_t)m->jacobian.upper;
}

static size_t place_count(const galenic_model *m) {
  size_t n = (size_t)(m->nx + m->nz);
  return 4 * n + 2 + (size_t)m->jacobian.lower + (size_t)m->jacobian.upper +
         2 * (size_t)m->triggers;
}

size_t galenic_size(const galenic_model *m) {
  return sizeof(galenic_run) + (saved_count(m) + work_count(m)) * sizeof(double) +
         place_count(m) * sizeof(int);
}

static double *take(double **from, int count) {
  double *here = *from;
  *from += count;
  return here;
}

static int *take_places(int **from, int count) {
  int *here = *from;
  *from += count;
  return here;
}

static void lay_out(galenic_run *r, double *numbers) {
  const galenic_model *m = r->model;
  int n = r->n, nt = m->triggers, *places;
  r->saved = numbers;
  numbers += HEAD;
  r->x = take(&numbers, m->nx);
  r->z = take(&numbers, m->nz);
  r->u = take(&numbers, m->nu);
  r->p = take(&numbers, m->np);
  r->given = take(&numbers, m->nx);
  r->due = take(&numbers, m->events);
  r->burst = take(&numbers, m->events);
  r->burst_at = take(&numbers, m->events);
  r->armed = take(&numbers, nt);
  r->size = take(&numbers, nt);
  r->leaving = take(&numbers, nt);
  r->values = take(&numbers, m->jacobian.nonzeros);
  r->k = take(&numbers, STAGES * n);
  r->by_time = take(&numbers, n);
  r->slope = take(&numbers, n);
  r->stage = take(&numbers, n);
  r->right = take(&numbers, n);
  r->next = take(&numbers, n);
  r->column = take(&numbers, n);
  r->row_scale = take(&numbers, n);
  r->column_scale = take(&numbers, n);
  r->pivot = take(&numbers, n);
  r->tried = take(&numbers, n);
  r->after = take(&numbers, m->nx);
  r->begin_levels = take(&numbers, nt);
  r->levels = take(&numbers, 2 * nt);
  r->y = take(&numbers, m->ny);
  r->zeros = take(&numbers, m->nu + m->np);
  r->lower = take(&numbers, m->jacobian.lower);
  r->upper = take(&numbers, m->jacobian.upper);
  places = (int *)numbers;
  r->pivot_row = take_places(&places, n);
  r->placed = take_places(&places, n);
  r->lower_start = take_places(&places, n + 1);
  r->upper_start = take_places(&places, n + 1);
  r->lower_row = take_places(&places, m->jacobian.lower);
  r->upper_at = take_places(&places, m->jacobian.upper);
  r->may = take_places(&places, nt);
  r->fired = take_places(&places, nt);
}

galenic_run *galenic_place(void *memory, const galenic_model *m) {
  galenic_run *r = (galenic_run *)memory;
  int i;
  if (!memory) return NULL;
  memset(memory, 0, galenic_size(m));
  r->model = m;
  r->n = m->nx + m->nz;
  lay_out(r, (double *)(void *)(r + 1));
  r->saved[RTOL] = 1e-6;
  r->saved[STALE] = 1.0;
  for (i = 0; i < m->nu; i++) r->u[i] = m->inputs[i].value;
  for (i = 0; i < m->np; i++) r->p[i] = m->parameters[i].value;
  for (i = 0; i < m->nx; i++) r->column_scale[i] = m->states[i].nominal;
  for (i = 0; i < m->nz; i++) {
    r->z[i] = isfinite(m->algebraics[i].value) ? m->algebraics[i].value : 0.0;
    r->column_scale[m->nx + i] = m->algebraics[i].nominal;
  }
  galenic_preview(r);
  return r;
}

const char *galenic_message(int status) {
  switch (status) {
    case GALENIC_OK: return "ok";
    case GALENIC_ENDED: return "a terminal event has ended the run";
    case GALENIC_UNKNOWN: return "there is no such quantity, or it cannot be set";
    case GALENIC_STEP: return "the step became too small: growth without limit, a jump in an "
                              "equation, or a value outside the domain of a function";
    case GALENIC_SINGULAR: return "the equations do not determine the next step";
    case GALENIC_ALGEBRAIC: return "no consistent algebraic values were found";
    case GALENIC_CHATTER: return "events pile up at one time";
    case GALENIC_WORK: return "too many steps: an equation that jumps back and forth, or a time "
                              "scale far below the one that is asked for";
    default: return "unknown status";
  }
}

void galenic_tolerance(galenic_run *r, double rtol) { r->saved[RTOL] = rtol; }
void galenic_fixed_step(galenic_run *r, double step) { r->saved[FIXED] = step; }
double galenic_time(const galenic_run *r) { return r->saved[TIME]; }
long galenic_steps(const galenic_run *r) { return (long)r->saved[STEPS]; }
long galenic_events(const galenic_run *r) { return (long)r->saved[EVENTS]; }
int galenic_has_ended(const galenic_run *r) { return r->saved[ENDED] != 0.0; }
double *galenic_x(galenic_run *r) { return r->x; }
double *galenic_z(galenic_run *r) { return r->z; }
double *galenic_u(galenic_run *r) { return r->u; }
double *galenic_p(galenic_run *r) { return r->p; }

void galenic_touch(galenic_run *r) {
  r->saved[STALE] = 1.0;
  r->fresh = 0;
}

void galenic_set_time(galenic_run *r, double time) {
  r->saved[TIME] = time;
  galenic_touch(r);
}

void galenic_give(galenic_run *r, int state, double value) {
  r->x[state] = value;
  r->given[state] = 1.0;
  galenic_touch(r);
}

size_t galenic_saved(const galenic_model *m) { return saved_count(m); }

void galenic_save(const galenic_run *r, double *numbers) {
  memcpy(numbers, r->saved, saved_count(r->model) * sizeof(double));
}

void galenic_restore(galenic_run *r, const double *numbers) {
  memcpy(r->saved, numbers, saved_count(r->model) * sizeof(double));
  r->fresh = 0;
}

/* ---- quantities by name ---- */

static int place_of(const galenic_quantity *table, int count, const char *path) {
  int i;
  for (i = 0; i < count; i++)
    if (!strcmp(table[i].path, path)) return i;
  return -1;
}

int galenic_set(galenic_run *r, const char *path, double value) {
  const galenic_model *m = r->model;
  const galenic_quantity *tables[4];
  int counts[4], kind, i;
  tables[0] = m->states, tables[1] = m->algebraics, tables[2] = m->inputs;
  tables[3] = m->parameters;
  counts[0] = m->nx, counts[1] = m->nz, counts[2] = m->nu, counts[3] = m->np;
  for (kind = 0; kind < 4; kind++) {
    if ((i = place_of(tables[kind], counts[kind], path)) < 0) continue;
    value = value * tables[kind][i].scale + tables[kind][i].offset;
    if (kind == 0) {
      r->x[i] = value;
      if (r->saved[STARTED] == 0.0) r->given[i] = 1.0;
    } else {
      (kind == 1 ? r->z : kind == 2 ? r->u : r->p)[i] = value;
    }
    galenic_touch(r);
    return GALENIC_OK;
  }
  return GALENIC_UNKNOWN;
}

double galenic_get(galenic_run *r, const char *path) {
  const galenic_model *m = r->model;
  const galenic_quantity *q;
  int i;
  if ((i = place_of(m->states, m->nx, path)) >= 0) {
    q = m->states + i;
    return (r->x[i] - q->offset) / q->scale;
  }
  if ((i = place_of(m->inputs, m->nu, path)) >= 0) {
    q = m->inputs + i;
    return (r->u[i] - q->offset) / q->scale;
  }
  if ((i = place_of(m->parameters, m->np, path)) >= 0) {
    q = m->parameters + i;
    return (r->p[i] - q->offset) / q->scale;
  }
  if (galenic_settle(r)) return NAN;
  if ((i = place_of(m->algebraics, m->nz, path)) >= 0) {
    q = m->algebraics + i;
    return (r->z[i] - q->offset) / q->scale;
  }
  if ((i = place_of(m->outputs, m->ny, path)) >= 0) {
    q = m->outputs + i;
    m->output(r->saved[TIME], r->x, r->z, r->u, r->p, r->y);
    return (r->y[i] - q->offset) / q->scale;
  }
  return NAN;
}

/* ---- sparse factors: rows scaled to 1, columns in the given order, pivots chosen in each ---- */

static double entry(const galenic_run *r, int at, int row, double shift) {
  if (shift > 0.0) return -r->values[at];
  return row < r->model->nx ? 0.0 : r->values[at];
}

/* Factor shift * M - J, or for shift 0 the algebraic rows of J below ones for the states. */
static void scale_rows(galenic_run *r, double shift) {
  const galenic_pattern *s = &r->model->jacobian;
  int j, at;
  for (j = 0; j < r->n; j++) r->row_scale[j] = 0.0;
  for (j = 0; j < r->n; j++)
    for (at = s->start[j]; at < s->start[j + 1]; at++) {
      double size = entry(r, at, s->row[at], shift);
      if (j < r->model->nx && at == s->diagonal[j]) size += shift > 0.0 ? shift : 1.0;
      size = fabs(size) * r->column_scale[j];
      if (!(size <= r->row_scale[s->row[at]])) r->row_scale[s->row[at]] = size;
    }
  for (j = 0; j < r->n; j++) r->row_scale[j] = r->row_scale[j] > 0.0 ? 1.0 / r->row_scale[j] : 1.0;
}

static void scatter(galenic_run *r, int j, double shift) {
  const galenic_pattern *s = &r->model->jacobian;
  int at;
  for (at = s->start[j]; at < s->start[j + 1]; at++) {
    double value = entry(r, at, s->row[at], shift);
    if (j < r->model->nx && at == s->diagonal[j]) value += shift > 0.0 ? shift : 1.0;
    r->column[s->row[at]] = value * r->column_scale[j] * r->row_scale[s->row[at]];
  }
}

static int choose_pivot(galenic_run *r, int preferred) {
  int i, best = -1;
  double largest = 0.0;
  for (i = 0; i < r->n; i++) {
    if (r->placed[i]) continue;
    if (!isfinite(r->column[i])) return -1;
    if (fabs(r->column[i]) > largest) largest = fabs(r->column[i]), best = i;
  }
  if (best >= 0 && !r->placed[preferred] && fabs(r->column[preferred]) >= 0.1 * largest)
    return preferred;
  return best;
}

static int factor(galenic_run *r, double shift) {
  int n = r->n, k, m, i, nl = 0, nu = 0;
  scale_rows(r, shift);
  memset(r->column, 0, (size_t)n * sizeof(double));
  memset(r->placed, 0, (size_t)n * sizeof(int));
  for (k = 0; k < n; k++) {
    int j = r->model->jacobian.order[k], row;
    scatter(r, j, shift);
    r->upper_start[k] = nu;
    r->lower_start[k] = nl;
    for (m = 0; m < k; m++) {
      double value = r->column[r->pivot_row[m]];
      if (value == 0.0) continue;
      r->upper_at[nu] = m;
      r->upper[nu++] = value;
      for (i = r->lower_start[m]; i < r->lower_start[m + 1]; i++)
        r->column[r->lower_row[i]] -= r->lower[i] * value;
      r->column[r->pivot_row[m]] = 0.0;
    }
    if ((row = choose_pivot(r, j)) < 0) return GALENIC_SINGULAR;
    r->pivot_row[k] = row;
    r->pivot[k] = r->column[row];
    r->placed[row] = 1;
    r->column[row] = 0.0;
    for (i = 0; i < n; i++) {
      if (r->column[i] == 0.0) continue;
      r->lower_row[nl] = i;
      r->lower[nl++] = r->column[i] / r->pivot[k];
      r->column[i] = 0.0;
    }
    r->lower_start[k + 1] = nl;
    r->upper_start[k + 1] = nu;
  }
  return GALENIC_OK;
}

/* Solve in place; uses r->column. */
static void solve(galenic_run *r, double *b) {
  int n = r->n, k, i;
  double *c = r->column;
  for (i = 0; i < n; i++) b[i] *= r->row_scale[i];
  for (k = 0; k < n; k++) {
    c[k] = b[r->pivot_row[k]];
    for (i = r->lower_start[k]; i < r->lower_start[k + 1]; i++)
      b[r->lower_row[i]] -= r->lower[i] * c[k];
  }
  for (k = n - 1; k >= 0; k--) {
    c[k] /= r->pivot[k];
    for (i = r->upper_start[k]; i < r->upper_start[k + 1]; i++)
      c[r->upper_at[i]] -= r->upper[i] * c[k];
  }
  for (k = 0; k < n; k++) {
    int j = r->model->jacobian.order[k];
    b[j] = c[k] * r->column_scale[j];
  }
}

/* ---- algebraic quantities: Newton, damped by the step that would come next (Deuflhard) ---- */

static double length_of(const galenic_run *r, const double *z) {
  int i, nx = r->model->nx;
  double sum = 0.0;
  for (i = 0; i < r->model->nz; i++) {
    double one = z[i] / r->column_scale[nx + i];
    sum += one * one;
  }
  return sqrt(sum);
}

static void newton_step(galenic_run *r, double t, const double *y) {
  int i, nx = r->model->nx;
  r->model->rhs(t, y, y + nx, r->u, r->p, r->right);
  for (i = 0; i < nx; i++) r->right[i] = 0.0;
  for (i = nx; i < r->n; i++) r->right[i] = -r->right[i];
  solve(r, r->right);
}

/* Bring the algebraic part of y (x, then z) to its equations. */
static int consistent(galenic_run *r, double t, double *y) {
  const galenic_model *m = r->model;
  int round, i, nx = m->nx;
  double *step = r->k + 6 * r->n; /* Runge-Kutta needs k[0..4] */
  if (!m->nz) return GALENIC_OK;
  r->fresh = 0;
  for (round = 0; round < NEWTON; round++) {
    double length, share = 1.0;
    m->partials(t, y, y + nx, r->u, r->p, r->values, r->by_time);
    if (factor(r, 0.0)) return GALENIC_ALGEBRAIC;
    newton_step(r, t, y);
    memcpy(step, r->right, (size_t)r->n * sizeof(double));
    length = length_of(r, step + nx);
    if (!isfinite(length)) return GALENIC_ALGEBRAIC;
    if (length <= 1e-10 * (length_of(r, y + nx) + 1.0)) {
      for (i = nx; i < r->n; i++) y[i] += step[i];
      return GALENIC_OK;
    }
    for (;;) {
      for (i = nx; i < r->n; i++) y[i] += share * step[i];
      newton_step(r, t, y);
      if (length_of(r, r->right + nx) <= (1.0 - 0.25 * share) * length || share <= 1e-4) break;
      for (i = nx; i < r->n; i++) y[i] -= share * step[i];
      share *= 0.5;
    }
  }
  return GALENIC_ALGEBRAIC;
}

int galenic_settle(galenic_run *r) {
  int status;
  if (r->saved[STALE] == 0.0) return GALENIC_OK;
  if (r->saved[STARTED] == 0.0) galenic_preview(r);
  status = consistent(r, r->saved[TIME], r->x);
  if (!status) r->saved[STALE] = 0.0;
  return status;
}

/* ---- one step from the present point to r->next ---- */

static double weighted(const galenic_run *r, const double *error, const double *y, const double *z) {
  int i;
  double sum = 0.0, rtol = r->saved[RTOL];
  for (i = 0; i < r->n; i++) {
    double one = error[i] / (rtol * (1e-3 * r->column_scale[i] + fmax(fabs(y[i]), fabs(z[i]))));
    sum += one * one;
  }
  sum = sqrt(sum / (r->n ? r->n : 1));
  return isfinite(sum) ? sum : HUGE_VAL;
}

static int rosenbrock(galenic_run *r, double h, double *error) {
  const galenic_model *m = r->model;
  int n = r->n, nx = m->nx, s, j, i;
  double t = r->saved[TIME], *y = r->x;
  if (!r->fresh) {
    m->partials(t, y, r->z, r->u, r->p, r->values, r->by_time);
    m->rhs(t, y, r->z, r->u, r->p, r->slope);
    r->fresh = 1;
  }
  if (factor(r, 1.0 / (h * GAMMA))) return GALENIC_SINGULAR;
  for (s = 0; s < STAGES; s++) {
    double *k = r->k + s * n;
    if (s > 5) {
      for (i = 0; i < n; i++) r->stage[i] += r->k[(s - 1) * n + i];
    } else {
      memcpy(r->stage, y, (size_t)n * sizeof(double));
      for (j = 0; j < s; j++)
        for (i = 0; i < n; i++) r->stage[i] += A[s][j] * r->k[j * n + i];
    }
    if (s == 0) memcpy(k, r->slope, (size_t)n * sizeof(double));
    else m->rhs(t + AT[s] * h, r->stage, r->stage + nx, r->u, r->p, k);
    for (i = 0; i < n; i++) k[i] += BY_TIME[s] * h * r->by_time[i];
    for (j = 0; j < s; j++)
      for (i = 0; i < nx; i++) k[i] += C[s][j] / h * r->k[j * n + i];
    solve(r, k);
  }
  for (i = 0; i < n; i++) r->next[i] = r->stage[i] + r->k[(STAGES - 1) * n + i];
  *error = weighted(r, r->k + (STAGES - 1) * n, y, r->next);
  return GALENIC_OK;
}

/* The stages' slopes stand in k[0..3], the slope at the end in k[4]. */
static int runge_kutta(galenic_run *r, double h) {
  static const double share[4] = {0.0, 0.5, 0.5, 1.0}, weight[4] = {1.0, 2.0, 2.0, 1.0};
  const galenic_model *m = r->model;
  int n = r->n, nx = m->nx, s, i, status;
  double t = r->saved[TIME];
  memcpy(r->next, r->x, (size_t)n * sizeof(double));
  memcpy(r->stage, r->x, (size_t)n * sizeof(double));
  for (s = 0; s < 4; s++) {
    for (i = 0; s && i < nx; i++) r->stage[i] = r->x[i] + share[s] * h * r->k[(s - 1) * n + i];
    if ((status = consistent(r, t + share[s] * h, r->stage)) != 0) return status;
    m->rhs(t + share[s] * h, r->stage, r->stage + nx, r->u, r->p, r->k + s * n);
    for (i = 0; i < nx; i++) r->next[i] += h / 6.0 * weight[s] * r->k[s * n + i];
  }
  for (i = nx; i < n; i++) r->next[i] = r->stage[i];
  if ((status = consistent(r, t + h, r->next)) != 0) return status;
  for (i = 0; i < n; i++)
    if (!isfinite(r->next[i])) return GALENIC_STEP;
  if (m->triggers) m->rhs(t + h, r->next, r->next + nx, r->u, r->p, r->k + 4 * n);
  return GALENIC_OK;
}

static int attempt(galenic_run *r, double h, double *error) {
  *error = 0.0;
  return r->saved[FIXED] > 0.0 ? runge_kutta(r, h) : rosenbrock(r, h, error);
}

/* The solution inside of the step just made, at a share of it, in r->tried. */
static int between(galenic_run *r, double h, double share) {
  int n = r->n, i, j;
  double rest = 1.0 - share;
  if (r->saved[FIXED] > 0.0) {
    double a = share * rest * rest * h, b = -share * share * rest * h;
    for (i = 0; i < n; i++) {
      double step = r->next[i] - r->x[i];
      r->tried[i] = r->x[i] + share * share * (3.0 - 2.0 * share) * step;
      if (i < r->model->nx) r->tried[i] += a * r->k[i] + b * r->k[4 * n + i];
    }
    return consistent(r, r->saved[TIME] + share * h, r->tried);
  }
  for (i = 0; i < n; i++) {
    double d[3] = {0.0, 0.0, 0.0};
    for (j = 0; j < STAGES; j++) {
      d[0] += H[0][j] * r->k[j * n + i];
      d[1] += H[1][j] * r->k[j * n + i];
      d[2] += H[2][j] * r->k[j * n + i];
    }
    r->tried[i] = rest * r->x[i] +
                  share * (r->next[i] + rest * (d[0] + share * (d[1] + share * d[2])));
  }
  return GALENIC_OK;
}

/* ---- events ---- */

static void measure(galenic_run *r, double t, const double *y, double *levels) {
  if (r->model->triggers) r->model->trigger(t, y, y + r->model->nx, r->u, r->p, levels);
}

static double highest(const galenic_run *r, const double *levels) {
  int i;
  double top = -HUGE_VAL;
  for (i = 0; i < r->model->triggers; i++)
    if (r->may[i] && levels[i] > top) top = levels[i];
  return top;
}

static int reaches(const galenic_run *r, const double *levels) {
  return highest(r, levels) >= 0.0;
}

static void allow(galenic_run *r, const double *levels) {
  int i;
  for (i = 0; i < r->model->triggers; i++)
    if (levels[i] < 0.0) r->may[i] = 1;
}

static int level_after(galenic_run *r, double h, double *top) {
  double error;
  int status = attempt(r, h, &error);
  if (status) return status;
  measure(r, r->saved[TIME] + h, r->next, r->levels);
  *top = highest(r, r->levels);
  return GALENIC_OK;
}

/* The shortest step, between two shares of h, after which a trigger has come to zero: regula falsi
   with halving (Illinois) over steps of the method itself. 0 where there is none after all. */
static int locate(galenic_run *r, double h, double low, double high, double *found) {
  double g_low, g_high, scale = fmax(fabs(r->saved[TIME]), h);
  int status, round, side = 0;
  *found = 0.0;
  if ((status = level_after(r, high * h, &g_high)) != 0) return status;
  if (g_high < 0.0) return GALENIC_OK;
  for (;;) { /* where the dense output was off, the beginning may lie further back */
    g_low = highest(r, r->begin_levels);
    if (low <= 0.0) break;
    if ((status = level_after(r, low * h, &g_low)) != 0) return status;
    if (g_low < 0.0) break;
    high = low, g_high = g_low;
    low = fmax(low - 1.0 / PLACES, 0.0);
  }
  for (round = 0; round < 200 && g_low < 0.0 && g_high > 0.0; round++) {
    double middle, g;
    if ((high - low) * h <= 2.0 * DBL_EPSILON * scale) break;
    middle = (low * g_high - high * g_low) / (g_high - g_low);
    if (!(middle > low && middle < high) || round % 8 == 7) middle = 0.5 * (low + high);
    if (!(middle > low && middle < high)) break;
    if ((status = level_after(r, middle * h, &g)) != 0) return status;
    if (g >= 0.0) {
      high = middle, g_high = g;
      if (side == 1) g_low *= 0.5;
      side = 1;
    } else {
      low = middle, g_low = g;
      if (side == -1) g_high *= 0.5;
      side = -1;
    }
  }
  *found = high;
  return level_after(r, high * h, &g_high);
}

/* A trigger that has left zero downward must be seen below it, or its return would be missed. */
static int resolve_leaving(galenic_run *r, double *h) {
  double t = r->saved[TIME], least = 1e-12 * fmax(fabs(t - r->saved[BEGAN]), 1e-9), error;
  int i, status;
  for (i = 0; i < r->model->triggers; i++) {
    if (r->leaving[i] == 0.0) continue;
    for (;;) {
      if ((status = attempt(r, *h / PLACES, &error)) != 0) return status;
      measure(r, t + *h / PLACES, r->next, r->levels);
      if (r->levels[i] < 0.0) break;
      if ((*h *= 0.25) < least) return GALENIC_CHATTER;
    }
    if ((status = attempt(r, *h, &error)) != 0) return status;
  }
  return GALENIC_OK;
}

/* Look for a trigger in the step of length h; where there is one, shorten the step to it. */
static int look_for_event(galenic_run *r, double *h, int *event) {
  int place, status, i;
  double found = 0.0, error;
  *event = 0;
  if ((status = resolve_leaving(r, h)) != 0) return status;
  for (i = 0; i < r->model->triggers; i++) r->may[i] = r->armed[i] != 0.0;
  measure(r, r->saved[TIME], r->x, r->begin_levels);
  allow(r, r->begin_levels);
  for (place = 1; place <= PLACES; place++) {
    double share = (double)place / PLACES, *y = r->tried;
    if (place == PLACES) y = r->next;
    else if ((status = between(r, *h, share)) != 0) return status;
    measure(r, r->saved[TIME] + share * *h, y, r->levels);
    for (i = 0; i < r->model->triggers; i++) r->size[i] = fmax(r->size[i], fabs(r->levels[i]));
    if (reaches(r, r->levels)) {
      status = locate(r, *h, (double)(place - 1) / PLACES, share, &found);
      if (status) return status;
      if (found > 0.0) break;
      if ((status = attempt(r, *h, &error)) != 0) return status;
    }
    if (place < PLACES) allow(r, r->levels);
  }
  if (found > 0.0) {
    *event = 1;
    *h *= found;
    for (i = 0; i < r->model->triggers; i++)
      if (r->may[i]) r->armed[i] = 1.0;
  }
  return GALENIC_OK;
}

int galenic_watch(galenic_run *r) {
  int i, due = 0;
  if (galenic_settle(r)) return 0;
  measure(r, r->saved[TIME], r->x, r->levels);
  for (i = 0; i < r->model->triggers; i++) {
    r->size[i] = fmax(r->size[i], fabs(r->levels[i]));
    if (r->levels[i] < 0.0 || (r->leaving[i] != 0.0 && r->saved[TIME] > r->saved[MET])) {
      r->armed[i] = 1.0;
      r->leaving[i] = 0.0;
    }
    if (r->levels[i] >= 0.0 && r->armed[i] != 0.0) due = 1;
  }
  return due;
}

static double scheduled(const galenic_run *r, int i) {
  const galenic_event *rule = r->model->rules + i;
  if (rule->trigger >= 0 || (rule->period <= 0.0 && r->due[i] > 0.0)) return HUGE_VAL;
  return rule->first + r->due[i] * rule->period;
}

double galenic_next(const galenic_run *r) {
  int i;
  double next = HUGE_VAL;
  for (i = 0; i < r->model->events; i++) next = fmin(next, scheduled(r, i));
  return next;
}

static int apply(galenic_run *r, int i) {
  const galenic_model *m = r->model;
  double t = r->saved[TIME], narrow = 1e-9 * fmax(fabs(t - r->saved[BEGAN]), 1e-9);
  if (m->rules[i].trigger >= 0) {
    if (t - r->burst_at[i] > narrow) r->burst[i] = 0.0, r->burst_at[i] = t;
    if (++r->burst[i] >= BURST) return GALENIC_CHATTER;
  }
  m->reset[i](t, r->x, r->z, r->u, r->p, r->after);
  memcpy(r->x, r->after, (size_t)m->nx * sizeof(double));
  r->saved[EVENTS] += 1.0;
  if (m->rules[i].terminal) r->saved[ENDED] = 1.0;
  galenic_touch(r);
  return GALENIC_OK;
}

static int meet_scheduled(galenic_run *r, int *changed) {
  int i, status;
  double t = r->saved[TIME], slack = 1e-11 * fmax(fabs(t), 1e-9);
  for (i = 0; i < r->model->events; i++)
    while (scheduled(r, i) <= t + slack) {
      r->due[i] += 1.0;
      *changed = 1;
      if ((status = apply(r, i)) != 0) return status;
    }
  return galenic_settle(r);
}

/* Triggers that have come to zero, and those that are as good as there together with them. */
static int due_now(galenic_run *r, int first) {
  int i, any = 0;
  for (i = 0; i < r->model->triggers; i++) {
    r->may[i] = r->armed[i] != 0.0 && r->levels[i] >= 0.0;
    any |= r->may[i];
  }
  for (i = 0; any && first && i < r->model->triggers; i++)
    if (r->armed[i] != 0.0 && r->levels[i] >= -1e-9 * r->size[i]) r->may[i] = 1;
  return any;
}

/* What counts as zero for a trigger that was located: the rounding of its location. */
static double near_zero(const galenic_run *r, int k, double located) {
  return fmin(10.0 * fabs(located), 1e-9 * r->size[k]) + 1e-12 * r->size[k];
}

/* Of the triggers that have fired and are not below zero, note those that will be so within what
   times can tell apart. */
static int note_leaving(galenic_run *r) {
  double t = r->saved[TIME], soon = 16.0 * DBL_EPSILON * fmax(fabs(t), 1e-9);
  double *rates = r->begin_levels;
  int k, any = 0, status;
  for (k = 0; k < r->model->triggers; k++) {
    r->leaving[k] = 0.0;
    any |= r->fired[k] && r->armed[k] == 0.0;
  }
  if (!any) return GALENIC_OK;
  if ((status = galenic_evaluate(r, r->tried, NULL, NULL)) != 0) return status;
  status = galenic_tangent(r, 1.0, r->tried, r->zeros, r->zeros + r->model->nu, r->next, r->y,
                           rates, r->stage);
  for (k = 0; k < r->model->triggers; k++) {
    double near = soon * fabs(rates[k]) + 1e-12 * r->size[k];
    if (r->fired[k] && r->armed[k] == 0.0 && rates[k] < 0.0 && fabs(r->levels[k]) <= near)
      r->leaving[k] = 1.0;
  }
  return status;
}

int galenic_meet(galenic_run *r, int *changed) {
  const galenic_model *m = r->model;
  double *located = r->levels + m->triggers;
  int i, k, round, status;
  if ((status = galenic_settle(r)) != 0) return status;
  if ((status = meet_scheduled(r, changed)) != 0) return status;
  for (k = 0; k < m->triggers; k++) r->fired[k] = 0, located[k] = 0.0;
  for (round = 0;; round++) {
    measure(r, r->saved[TIME], r->x, r->levels);
    if (galenic_has_ended(r) || !due_now(r, round == 0)) break;
    if (round == ROUNDS) return GALENIC_CHATTER;
    for (i = 0; i < m->events; i++) {
      k = m->rules[i].trigger;
      if (k < 0 || !r->may[k]) continue;
      r->armed[k] = 0.0;
      r->fired[k] = 1;
      located[k] = r->levels[k];
      *changed = 1;
      if ((status = apply(r, i)) != 0) return status;
    }
    if ((status = galenic_settle(r)) != 0) return status;
    /* below zero again by more than rounding: may fire once more, even now */
    measure(r, r->saved[TIME], r->x, r->levels);
    for (k = 0; k < m->triggers; k++) {
      double near = r->fired[k] ? near_zero(r, k, located[k]) : 0.0;
      if (r->levels[k] < -near) r->armed[k] = 1.0;
    }
  }
  if (!*changed) return GALENIC_OK;
  r->saved[MET] = r->saved[TIME];
  status = note_leaving(r);
  for (k = 0; k < m->triggers; k++) r->size[k] = fabs(r->levels[k]);
  return status;
}

/* ---- the run ---- */

int galenic_preview(galenic_run *r) {
  int i;
  r->model->start(r->p, r->after);
  for (i = 0; i < r->model->nx; i++)
    if (r->given[i] == 0.0) r->x[i] = r->after[i];
  galenic_touch(r);
  return GALENIC_OK;
}

int galenic_begin(galenic_run *r, double time) {
  int i, status;
  r->saved[TIME] = r->saved[BEGAN] = time;
  r->saved[STEP] = r->saved[ENDED] = r->saved[STEPS] = r->saved[EVENTS] = 0.0;
  galenic_preview(r);
  r->saved[STARTED] = 1.0;
  for (i = 0; i < r->model->events; i++) {
    const galenic_event *rule = r->model->rules + i;
    r->burst[i] = 0.0;
    r->burst_at[i] = time;
    r->due[i] = 0.0;
    if (rule->trigger >= 0) continue;
    if (rule->period > 0.0)
      r->due[i] = fmax(0.0, ceil((time - rule->first) / rule->period - 1e-9));
    else
      r->due[i] = rule->first < time ? 1.0 : 0.0;
  }
  if ((status = galenic_settle(r)) != 0) return status;
  measure(r, time, r->x, r->levels);
  for (i = 0; i < r->model->triggers; i++) {
    r->armed[i] = r->levels[i] < 0.0 ? 1.0 : 0.0;
    r->size[i] = fabs(r->levels[i]);
  }
  return GALENIC_OK;
}

int galenic_start(galenic_run *r, double time) {
  int changed = 0, status = galenic_begin(r, time);
  return status ? status : galenic_meet(r, &changed);
}

/* A first step by the size of states and slopes. */
static double first_step(galenic_run *r, double span) {
  int i, nx = r->model->nx;
  double size = 0.0, speed = 0.0;
  r->model->rhs(r->saved[TIME], r->x, r->z, r->u, r->p, r->right);
  for (i = 0; i < nx; i++) {
    double unit = 1e-3 * r->column_scale[i] + fabs(r->x[i]);
    size = fmax(size, fabs(r->x[i]) / unit);
    speed = fmax(speed, fabs(r->right[i]) / unit);
  }
  if (!(speed > 0.0) || !isfinite(speed)) return 1e-3 * span;
  return fmin(span, 1e-3 * fmax(size, 1e-3) / speed);
}

/* A twentieth of the run so far: triggers may move where states do not, and go unseen otherwise. */
static double longest_step(const galenic_run *r, double until) {
  return r->model->triggers ? 0.05 * (until - r->saved[BEGAN]) : HUGE_VAL;
}

static int one_step(galenic_run *r, double stop, double longest, int *event) {
  double t = r->saved[TIME], fixed = r->saved[FIXED], h, error;
  int last, status;
  *event = 0;
  if (!(r->saved[STEP] > 0.0)) r->saved[STEP] = first_step(r, stop - t);
  h = fixed > 0.0 ? fixed : fmin(r->saved[STEP], longest);
  for (;;) {
    last = t + h * (1.0 + 1e-9) >= stop;
    if (last) h = stop - t;
    status = attempt(r, h, &error);
    if (!status && error <= 1.0) break;
    if (fixed > 0.0) return status;
    h *= status || !(error < HUGE_VAL) ? 0.2 : fmax(0.2, 0.9 * pow(error, -0.2));
    r->saved[STEP] = h;
    if (h <= 4.0 * DBL_EPSILON * fabs(t) || h < 1e-280) return status ? status : GALENIC_STEP;
  }
  if (fixed <= 0.0) {
    double grown = h * fmin(6.0, 0.9 * pow(fmax(error, 1e-10), -0.2));
    if (!last || grown > r->saved[STEP]) r->saved[STEP] = grown;
  }
  if (r->model->triggers) {
    double whole = h;
    if ((status = look_for_event(r, &h, event)) != 0) return status;
    last = last && h == whole;
  }
  memcpy(r->x, r->next, (size_t)r->n * sizeof(double));
  r->saved[TIME] = last ? stop : t + h;
  r->saved[STEPS] += 1.0;
  r->fresh = 0;
  if (!*event) galenic_watch(r);
  return GALENIC_OK;
}

int galenic_advance(galenic_run *r, double until) {
  int status, event, changed = 0;
  long steps = 0;
  if (r->saved[STARTED] == 0.0 && (status = galenic_start(r, r->saved[TIME])) != 0) return status;
  if (r->saved[STALE] != 0.0 && (status = galenic_meet(r, &changed)) != 0) return status;
  while (r->saved[TIME] < until && !galenic_has_ended(r)) {
    double due = galenic_next(r);
    if (++steps > WORK && r->saved[FIXED] <= 0.0) return GALENIC_WORK;
    status = one_step(r, fmin(until, due), longest_step(r, until), &event);
    if (status) return status;
    if (event || r->saved[TIME] >= due)
      if ((status = galenic_meet(r, &changed)) != 0) return status;
  }
  return galenic_has_ended(r) ? GALENIC_ENDED : GALENIC_OK;
}

int galenic_evaluate(galenic_run *r, double *rates, double *outputs, double *levels) {
  const galenic_model *m = r->model;
  double t = r->saved[TIME];
  int status = galenic_settle(r);
  if (status) return status;
  if (rates) {
    m->rhs(t, r->x, r->z, r->u, r->p, r->right);
    memcpy(rates, r->right, (size_t)m->nx * sizeof(double));
  }
  if (outputs) m->output(t, r->x, r->z, r->u, r->p, outputs);
  if (levels && m->triggers) m->trigger(t, r->x, r->z, r->u, r->p, levels);
  return GALENIC_OK;
}

int galenic_tangent(galenic_run *r, double dt, const double *dx, const double *du, const double *dp,
                    double *rates, double *outputs, double *levels, double *dz) {
  const galenic_model *m = r->model;
  double t = r->saved[TIME];
  int i, nx = m->nx, nz = m->nz, status = galenic_settle(r);
  if (status) return status;
  for (i = 0; i < nz; i++) dz[i] = 0.0;
  if (nz) {
    m->partials(t, r->x, r->z, r->u, r->p, r->values, r->by_time);
    r->fresh = 0;
    if (factor(r, 0.0)) return GALENIC_SINGULAR;
    m->tangent(t, r->x, r->z, r->u, r->p, dt, dx, dz, du, dp, r->right, outputs, levels);
    for (i = 0; i < nx; i++) r->right[i] = 0.0;
    for (i = nx; i < r->n; i++) r->right[i] = -r->right[i];
    solve(r, r->right);
    for (i = 0; i < nz; i++) dz[i] = r->right[nx + i];
  }
  m->tangent(t, r->x, r->z, r->u, r->p, dt, dx, dz, du, dp, r->right, outputs, levels);
  memcpy(rates, r->right, (size_t)nx * sizeof(double));
  return GALENIC_OK;
}
