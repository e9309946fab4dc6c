/* Run the model and print it over time as comma-separated values in the declared units.

     program UNTIL EVERY [rtol=1e-8] [step=0.1] [NAME=VALUE ...]

   UNTIL and EVERY in seconds; step= takes fixed steps instead of adaptive ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "MODEL.h"

static void head(const galenic_quantity *table, int count) {
  int i;
  for (i = 0; i < count; i++) printf(",\"%s [%s]\"", table[i].path, table[i].unit);
}

static void body(galenic_run *run, const galenic_quantity *table, int count) {
  int i;
  for (i = 0; i < count; i++) printf(",%.17g", galenic_get(run, table[i].path));
}

static void row(galenic_run *run, const galenic_model *m) {
  printf("%.17g", galenic_time(run));
  body(run, m->states, m->nx);
  body(run, m->algebraics, m->nz);
  body(run, m->outputs, m->ny);
  printf("\n");
}

static int given(galenic_run *run, char *argument) {
  char *value = strrchr(argument, '='), *end;
  double number;
  if (!value) return 0;
  *value++ = 0;
  number = strtod(value, &end);
  if (end == value || *end) return 0;
  if (!strcmp(argument, "rtol")) return galenic_tolerance(run, number), 1;
  if (!strcmp(argument, "step")) return galenic_fixed_step(run, number), 1;
  return galenic_set(run, argument, number) == GALENIC_OK;
}

int main(int count, char **arguments) {
  const galenic_model *m = &MODEL;
  galenic_run *run = galenic_place(malloc(galenic_size(m)), m);
  double until, every;
  int i, k, status;
  if (!run || count < 3) {
    fprintf(stderr, "usage: %s UNTIL EVERY [rtol=R] [step=H] [NAME=VALUE ...]\n", arguments[0]);
    return 2;
  }
  until = atof(arguments[1]);
  every = atof(arguments[2]);
  for (i = 3; i < count; i++)
    if (!given(run, arguments[i])) {
      fprintf(stderr, "%s: not NAME=NUMBER of this model\n", arguments[i]);
      return 2;
    }
  printf("time [s]");
  head(m->states, m->nx);
  head(m->algebraics, m->nz);
  head(m->outputs, m->ny);
  printf("\n");
  status = galenic_start(run, 0.0);
  for (k = 0; status == GALENIC_OK; k++) {
    double next = (k + 1) * every;
    row(run, m);
    if (galenic_time(run) >= until || !(every > 0.0)) break;
    status = galenic_advance(run, next * (1.0 + 1e-12) < until ? next : until);
  }
  if (status == GALENIC_ENDED) row(run, m);
  if (status < 0) fprintf(stderr, "%s at t = %g s\n", galenic_message(status), galenic_time(run));
  free(run);
  return status < 0;
}
