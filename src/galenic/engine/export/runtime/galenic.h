/* A model exported by galenic, and the solver that runs it. C99, standard library only.

   All vectors are in SI; galenic_set and galenic_get work in the declared units. A run lives in one
   block of memory of galenic_size(model) bytes that the caller provides; nothing is allocated.

     galenic_run *run = galenic_place(malloc(galenic_size(&tank)), &tank);
     galenic_set(run, "V", 5.0);
     galenic_start(run, 0.0);
     galenic_advance(run, 3600.0);
     double c = galenic_get(run, "c");
*/
#ifndef GALENIC_H
#define GALENIC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One scalar; numbers are SI, with SI = value * scale + offset. */
typedef struct {
  const char *path, *unit, *meaning;
  double scale, offset;
  double value, lower, upper, nominal; /* value: start, guess or default */
  int discrete;                        /* a state that changes at events only */
} galenic_quantity;

/* A rule fires where its trigger crosses zero upward, or at first + k * period [s]. */
typedef struct {
  const char *name;
  int trigger;          /* its place among the triggers; -1 for a scheduled rule */
  double first, period; /* period 0: once */
  int terminal;         /* ends the run */
} galenic_event;

/* d(ode, alg)/d(x, z) by columns: column j has rows row[start[j]] to row[start[j + 1] - 1]. */
typedef struct {
  const int *start, *row;
  const int *diagonal; /* where d(ode i)/d(x i) stands */
  const int *order;    /* in which the columns are eliminated */
  int nonzeros;
  int lower, upper;    /* room for the factors under any choice of pivots */
} galenic_pattern;

typedef struct galenic_model {
  const char *name, *identity;
  int nx, nz, nu, np, ny, events, triggers;
  const galenic_quantity *states, *algebraics, *inputs, *parameters, *outputs;
  const galenic_event *rules;
  galenic_pattern jacobian;
  void (*start)(const double *p, double *x);
  /* out: ode (nx), then alg (nz) */
  void (*rhs)(double t, const double *x, const double *z, const double *u, const double *p,
              double *out);
  /* values of the pattern, and d(ode, alg)/dt */
  void (*partials)(double t, const double *x, const double *z, const double *u, const double *p,
                   double *values, double *by_time);
  void (*output)(double t, const double *x, const double *z, const double *u, const double *p,
                 double *y);
  void (*trigger)(double t, const double *x, const double *z, const double *u, const double *p,
                  double *levels);
  /* directional derivatives of (ode, alg), y and triggers along (dt, dx, dz, du, dp) */
  void (*tangent)(double t, const double *x, const double *z, const double *u, const double *p,
                  double dt, const double *dx, const double *dz, const double *du,
                  const double *dp, double *out, double *y, double *levels);
  /* per rule: all states after it */
  void (*const *reset)(double t, const double *x, const double *z, const double *u,
                       const double *p, double *after);
} galenic_model;

typedef struct galenic_run galenic_run;

enum {
  GALENIC_OK = 0,
  GALENIC_ENDED = 1,      /* a terminal rule fired; galenic_time says when */
  GALENIC_UNKNOWN = -1,   /* no such quantity, or it cannot be set */
  GALENIC_STEP = -2,      /* the step became too small */
  GALENIC_SINGULAR = -3,  /* the equations do not determine the next step */
  GALENIC_ALGEBRAIC = -4, /* no consistent algebraic values were found */
  GALENIC_CHATTER = -5,   /* events pile up at one time */
  GALENIC_WORK = -6       /* more than 100,000 adaptive steps in one galenic_advance */
};
const char *galenic_message(int status);

size_t galenic_size(const galenic_model *model);
galenic_run *galenic_place(void *memory, const galenic_model *model);

/* Relative tolerance of the adaptive method (1e-6 after galenic_place); the absolute tolerance of
   a quantity is a thousandth of it times its nominal value. */
void galenic_tolerance(galenic_run *run, double rtol);
/* Steps of this length [s] with the classical Runge-Kutta method; 0 goes back to adaptive. */
void galenic_fixed_step(galenic_run *run, double step);

/* In the declared unit. States may be set before the start (instead of the declared start value)
   and afterwards (a jump). galenic_get gives NaN for a name that does not exist. */
int galenic_set(galenic_run *run, const char *path, double value);
double galenic_get(galenic_run *run, const char *path);

/* Begin at a time [s]: start values from parameters, and what is scheduled for that time. */
int galenic_start(galenic_run *run, double time);
/* Go on to a time [s], events included; what happens at that time has happened afterwards. */
int galenic_advance(galenic_run *run, double until);

double galenic_time(const galenic_run *run);
long galenic_steps(const galenic_run *run);
long galenic_events(const galenic_run *run);

/* What follows is for other drivers, such as an FMU; vectors are SI. */
double *galenic_x(galenic_run *run);
double *galenic_z(galenic_run *run);
double *galenic_u(galenic_run *run);
double *galenic_p(galenic_run *run);
void galenic_set_time(galenic_run *run, double time);
/* Start value of a state: kept when the others are computed from parameters. */
void galenic_give(galenic_run *run, int state, double value);
/* Start values from parameters, without beginning. */
int galenic_preview(galenic_run *run);
int galenic_begin(galenic_run *run, double time);
/* Something was changed from outside: algebraic values are to be found anew. */
void galenic_touch(galenic_run *run);
int galenic_settle(galenic_run *run);
/* Apply what is due now: scheduled rules, then triggered ones, until nothing fires. */
int galenic_meet(galenic_run *run, int *changed);
/* Note which triggers are below zero, so that they may fire; 1 where one is due. */
int galenic_watch(galenic_run *run);
/* The next scheduled time, or HUGE_VAL. */
double galenic_next(const galenic_run *run);
int galenic_has_ended(const galenic_run *run);
/* rates (nx), outputs (ny), levels (triggers); any may be NULL */
int galenic_evaluate(galenic_run *run, double *rates, double *outputs, double *levels);
/* Their directional derivative with the algebraic quantities following; dz (nz) is given back. */
int galenic_tangent(galenic_run *run, double dt, const double *dx, const double *du,
                    const double *dp, double *rates, double *outputs, double *levels, double *dz);
/* All that a run remembers, as numbers. */
size_t galenic_saved(const galenic_model *model);
void galenic_save(const galenic_run *run, double *numbers);
void galenic_restore(galenic_run *run, const double *numbers);

#ifdef __cplusplus
}
#endif

#endif
