/* A model as an FMI 3.0 unit for model exchange and co-simulation.

   fmu.h names the model and says which states are continuous. Value references count time, states,
   their rates, algebraic quantities, inputs, parameters, outputs and triggers, in this order.
   Outside, values are in declared units; rates are per second. */
#include "fmi3.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmu.h"
#include "galenic.h"

typedef enum { INSTANTIATED, INITIALIZING, EVENT, CONTINUOUS, STEP, TERMINATED } Mode;

typedef struct {
  galenic_run *run;
  Mode mode;
  int co_simulation;
  fmi3InstanceEnvironment environment;
  fmi3LogMessageCallback log;
  double *rates, *outputs, *levels;
  double *dx, *du, *dp, *dz;
} Unit;

typedef struct {
  size_t count;
  double *numbers; /* what the run remembers, then the mode */
} Kept;

enum { TIME_GROUP, STATE, RATE, ALGEBRAIC, INPUT, PARAMETER, OUTPUT, TRIGGER, GROUPS };

static const galenic_model *const model = &FMU_MODEL;

static fmi3Status failed(Unit *unit, const char *what) {
  if (unit && unit->log) unit->log(unit->environment, fmi3Error, "logStatusError", what);
  return fmi3Error;
}

static fmi3Status told(Unit *unit, int status) {
  return status >= 0 ? fmi3OK : failed(unit, galenic_message(status));
}

static int group_of(fmi3ValueReference reference, int *place) {
  int sizes[GROUPS], group;
  long left = (long)reference;
  sizes[TIME_GROUP] = 1;
  sizes[STATE] = sizes[RATE] = model->nx;
  sizes[ALGEBRAIC] = model->nz;
  sizes[INPUT] = model->nu;
  sizes[PARAMETER] = model->np;
  sizes[OUTPUT] = model->ny;
  sizes[TRIGGER] = model->triggers;
  for (group = 0; group < GROUPS; group++) {
    if (left < sizes[group]) {
      *place = (int)left;
      return group;
    }
    left -= sizes[group];
  }
  return -1;
}

static const galenic_quantity *quantity(int group, int i) {
  switch (group) {
    case STATE:
    case RATE: return model->states + i;
    case ALGEBRAIC: return model->algebraics + i;
    case INPUT: return model->inputs + i;
    case PARAMETER: return model->parameters + i;
    default: return model->outputs + i;
  }
}

static double shown(double si, const galenic_quantity *q) { return (si - q->offset) / q->scale; }

/* ---- life ---- */

FMI3_EXPORT const char *fmi3GetVersion(void) { return "3.0"; }

FMI3_EXPORT fmi3Status fmi3SetDebugLogging(fmi3Instance instance, fmi3Boolean on, size_t count,
                                           const fmi3String categories[]) {
  size_t i;
  (void)on;
  for (i = 0; i < count; i++)
    if (strcmp(categories[i], "logStatusError"))
      return failed((Unit *)instance, "there is no such log category");
  return fmi3OK;
}

static Unit *instantiate(fmi3String token, int co_simulation, fmi3InstanceEnvironment environment,
                         fmi3LogMessageCallback log) {
  size_t nx = (size_t)model->nx, nu = (size_t)model->nu, np = (size_t)model->np;
  size_t count = 2 * nx + nu + np + (size_t)(model->ny + model->triggers + model->nz);
  Unit *unit;
  double *room;
  if (!token || strcmp(token, FMU_TOKEN)) {
    if (log) log(environment, fmi3Error, "logStatusError", "the instantiation token is another");
    return NULL;
  }
  unit = (Unit *)calloc(1, sizeof(Unit));
  room = (double *)calloc(count + 1, sizeof(double));
  if (unit) unit->run = galenic_place(malloc(galenic_size(model)), model);
  if (!unit || !room || !unit->run) {
    if (unit) free(unit->run);
    free(unit);
    free(room);
    return NULL;
  }
  unit->co_simulation = co_simulation;
  unit->environment = environment;
  unit->log = log;
  unit->rates = room;
  unit->outputs = unit->rates + nx;
  unit->levels = unit->outputs + model->ny;
  unit->dx = unit->levels + model->triggers;
  unit->du = unit->dx + nx;
  unit->dp = unit->du + nu;
  unit->dz = unit->dp + np;
  return unit;
}

FMI3_EXPORT fmi3Instance fmi3InstantiateModelExchange(
    fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible,
    fmi3Boolean logging, fmi3InstanceEnvironment environment, fmi3LogMessageCallback log) {
  (void)name, (void)resources, (void)visible, (void)logging;
  return instantiate(token, 0, environment, log);
}

FMI3_EXPORT fmi3Instance fmi3InstantiateCoSimulation(
    fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible,
    fmi3Boolean logging, fmi3Boolean event_mode, fmi3Boolean early_return,
    const fmi3ValueReference intermediate[], size_t count, fmi3InstanceEnvironment environment,
    fmi3LogMessageCallback log, fmi3IntermediateUpdateCallback update) {
  (void)name, (void)resources, (void)visible, (void)logging, (void)early_return;
  (void)intermediate, (void)count, (void)update;
  if (event_mode) {
    if (log) log(environment, fmi3Error, "logStatusError", "co-simulation has no event mode");
    return NULL;
  }
  return instantiate(token, 1, environment, log);
}

FMI3_EXPORT fmi3Instance fmi3InstantiateScheduledExecution(
    fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible,
    fmi3Boolean logging, fmi3InstanceEnvironment environment, fmi3LogMessageCallback log,
    fmi3ClockUpdateCallback update, fmi3LockPreemptionCallback lock,
    fmi3UnlockPreemptionCallback unlock) {
  (void)name, (void)token, (void)resources, (void)visible, (void)logging, (void)environment;
  (void)log, (void)update, (void)lock, (void)unlock;
  return NULL;
}

FMI3_EXPORT void fmi3FreeInstance(fmi3Instance instance) {
  Unit *unit = (Unit *)instance;
  if (!unit) return;
  free(unit->run);
  free(unit->rates);
  free(unit);
}

FMI3_EXPORT fmi3Status fmi3EnterInitializationMode(fmi3Instance instance, fmi3Boolean has_tolerance,
                                                   fmi3Float64 tolerance, fmi3Float64 start,
                                                   fmi3Boolean has_stop, fmi3Float64 stop) {
  Unit *unit = (Unit *)instance;
  (void)has_stop, (void)stop;
  if (unit->mode != INSTANTIATED) return failed(unit, "initialization follows instantiation");
  if (has_tolerance && tolerance > 0.0) galenic_tolerance(unit->run, tolerance);
  galenic_set_time(unit->run, start);
  unit->mode = INITIALIZING;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3ExitInitializationMode(fmi3Instance instance) {
  Unit *unit = (Unit *)instance;
  double start = galenic_time(unit->run);
  if (unit->mode != INITIALIZING) return failed(unit, "the unit is not in initialization mode");
  unit->mode = unit->co_simulation ? STEP : EVENT;
  if (unit->co_simulation) return told(unit, galenic_start(unit->run, start));
  return told(unit, galenic_begin(unit->run, start));
}

FMI3_EXPORT fmi3Status fmi3EnterEventMode(fmi3Instance instance) {
  Unit *unit = (Unit *)instance;
  if (unit->co_simulation) return failed(unit, "co-simulation has no event mode");
  unit->mode = EVENT;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3Terminate(fmi3Instance instance) {
  ((Unit *)instance)->mode = TERMINATED;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3Reset(fmi3Instance instance) {
  Unit *unit = (Unit *)instance;
  galenic_place(unit->run, model);
  unit->mode = INSTANTIATED;
  return fmi3OK;
}

/* ---- values ---- */

FMI3_EXPORT fmi3Status fmi3GetFloat64(fmi3Instance instance, const fmi3ValueReference references[],
                                      size_t count, fmi3Float64 values[], size_t sizes) {
  Unit *unit = (Unit *)instance;
  galenic_run *run = unit->run;
  int known[GROUPS] = {0}, status, i;
  size_t k;
  if (count != sizes) return failed(unit, "the numbers of references and values differ");
  for (k = 0; k < count; k++) {
    int group = group_of(references[k], &i);
    if (group < 0) return failed(unit, "there is no such value reference");
    if (!known[group]) {
      status = galenic_evaluate(run, group == RATE ? unit->rates : NULL,
                                group == OUTPUT ? unit->outputs : NULL,
                                group == TRIGGER ? unit->levels : NULL);
      if (status < 0 && group != INPUT && group != PARAMETER) return told(unit, status);
      known[group] = 1;
    }
    switch (group) {
      case TIME_GROUP: values[k] = galenic_time(run); break;
      case STATE: values[k] = shown(galenic_x(run)[i], model->states + i); break;
      case RATE: values[k] = unit->rates[i] / model->states[i].scale; break;
      case ALGEBRAIC: values[k] = shown(galenic_z(run)[i], model->algebraics + i); break;
      case INPUT: values[k] = shown(galenic_u(run)[i], model->inputs + i); break;
      case PARAMETER: values[k] = shown(galenic_p(run)[i], model->parameters + i); break;
      case OUTPUT: values[k] = shown(unit->outputs[i], model->outputs + i); break;
      default: values[k] = unit->levels[i];
    }
  }
  return fmi3OK;
}

static fmi3Status set_one(Unit *unit, int group, int i, double value) {
  int starting = unit->mode == INSTANTIATED || unit->mode == INITIALIZING;
  const galenic_quantity *q;
  if (group != STATE && group != ALGEBRAIC && group != INPUT && group != PARAMETER)
    return failed(unit, "the value is calculated; it cannot be set");
  q = quantity(group, i);
  value = value * q->scale + q->offset;
  if (group == STATE || group == ALGEBRAIC) {
    if (!starting) return failed(unit, "start values are set before the end of initialization");
    if (group == STATE && fmu_calculated[i])
      return failed(unit, "the start value follows from parameters; it cannot be set");
    if (group == STATE) galenic_give(unit->run, i, value);
    else galenic_z(unit->run)[i] = value;
  } else {
    if (group == PARAMETER && unit->mode == CONTINUOUS)
      return failed(unit, "parameters change in event mode");
    (group == INPUT ? galenic_u(unit->run) : galenic_p(unit->run))[i] = value;
  }
  galenic_touch(unit->run);
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SetFloat64(fmi3Instance instance, const fmi3ValueReference references[],
                                      size_t count, const fmi3Float64 values[], size_t sizes) {
  Unit *unit = (Unit *)instance;
  size_t k;
  int i;
  if (count != sizes) return failed(unit, "the numbers of references and values differ");
  if (unit->mode == TERMINATED) return failed(unit, "the simulation is over");
  for (k = 0; k < count; k++) {
    int group = group_of(references[k], &i);
    fmi3Status status = group < 0 ? failed(unit, "there is no such value reference")
                                  : set_one(unit, group, i, values[k]);
    if (status != fmi3OK) return status;
  }
  return fmi3OK;
}

/* Every quantity is a Float64; of the other types there are none. */
#define NO_SUCH_TYPE(NAME, TYPE)                                                             \
  FMI3_EXPORT fmi3Status fmi3Get##NAME(fmi3Instance instance,                                \
                                       const fmi3ValueReference references[], size_t count,  \
                                       TYPE values[], size_t sizes) {                        \
    (void)references, (void)values, (void)sizes;                                             \
    return count ? failed((Unit *)instance, "the unit has no " #NAME) : fmi3OK;              \
  }                                                                                          \
  FMI3_EXPORT fmi3Status fmi3Set##NAME(fmi3Instance instance,                                \
                                       const fmi3ValueReference references[], size_t count,  \
                                       const TYPE values[], size_t sizes) {                  \
    (void)references, (void)values, (void)sizes;                                             \
    return count ? failed((Unit *)instance, "the unit has no " #NAME) : fmi3OK;              \
  }

NO_SUCH_TYPE(Float32, fmi3Float32)
NO_SUCH_TYPE(Int8, fmi3Int8)
NO_SUCH_TYPE(UInt8, fmi3UInt8)
NO_SUCH_TYPE(Int16, fmi3Int16)
NO_SUCH_TYPE(UInt16, fmi3UInt16)
NO_SUCH_TYPE(Int32, fmi3Int32)
NO_SUCH_TYPE(UInt32, fmi3UInt32)
NO_SUCH_TYPE(Int64, fmi3Int64)
NO_SUCH_TYPE(UInt64, fmi3UInt64)
NO_SUCH_TYPE(Boolean, fmi3Boolean)
NO_SUCH_TYPE(String, fmi3String)

FMI3_EXPORT fmi3Status fmi3GetBinary(fmi3Instance instance, const fmi3ValueReference references[],
                                     size_t count, size_t value_sizes[], fmi3Binary values[],
                                     size_t sizes) {
  (void)references, (void)value_sizes, (void)values, (void)sizes;
  return count ? failed((Unit *)instance, "the unit has no Binary") : fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SetBinary(fmi3Instance instance, const fmi3ValueReference references[],
                                     size_t count, const size_t value_sizes[],
                                     const fmi3Binary values[], size_t sizes) {
  (void)references, (void)value_sizes, (void)values, (void)sizes;
  return count ? failed((Unit *)instance, "the unit has no Binary") : fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetClock(fmi3Instance instance, const fmi3ValueReference references[],
                                    size_t count, fmi3Clock values[]) {
  (void)references, (void)values;
  return count ? failed((Unit *)instance, "the unit has no Clock") : fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SetClock(fmi3Instance instance, const fmi3ValueReference references[],
                                    size_t count, const fmi3Clock values[]) {
  (void)references, (void)values;
  return count ? failed((Unit *)instance, "the unit has no Clock") : fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetNumberOfVariableDependencies(fmi3Instance instance,
                                                           fmi3ValueReference reference,
                                                           size_t *count) {
  (void)reference, (void)count;
  return failed((Unit *)instance, "dependencies stand in the model description");
}

FMI3_EXPORT fmi3Status fmi3GetVariableDependencies(
    fmi3Instance instance, fmi3ValueReference dependent, size_t dependent_elements[],
    fmi3ValueReference independents[], size_t independent_elements[], fmi3DependencyKind kinds[],
    size_t count) {
  (void)dependent, (void)dependent_elements, (void)independents, (void)independent_elements;
  (void)kinds, (void)count;
  return failed((Unit *)instance, "dependencies stand in the model description");
}

/* ---- the state of the unit ---- */

FMI3_EXPORT fmi3Status fmi3FreeFMUState(fmi3Instance instance, fmi3FMUState *state) {
  Kept *kept = state ? (Kept *)*state : NULL;
  (void)instance;
  if (kept) free(kept->numbers);
  free(kept);
  if (state) *state = NULL;
  return fmi3OK;
}

static Kept *room_for_state(Unit *unit, fmi3FMUState *state) {
  Kept *kept = (Kept *)*state;
  if (kept) return kept;
  kept = (Kept *)calloc(1, sizeof(Kept));
  if (!kept) return NULL;
  kept->count = galenic_saved(model) + 1;
  kept->numbers = (double *)calloc(kept->count, sizeof(double));
  *state = kept;
  if (!kept->numbers) fmi3FreeFMUState(unit, state);
  return (Kept *)*state;
}

FMI3_EXPORT fmi3Status fmi3GetFMUState(fmi3Instance instance, fmi3FMUState *state) {
  Unit *unit = (Unit *)instance;
  Kept *kept = room_for_state(unit, state);
  if (!kept) return failed(unit, "no memory is left");
  galenic_save(unit->run, kept->numbers);
  kept->numbers[kept->count - 1] = (double)unit->mode;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SetFMUState(fmi3Instance instance, fmi3FMUState state) {
  Unit *unit = (Unit *)instance;
  Kept *kept = (Kept *)state;
  galenic_restore(unit->run, kept->numbers);
  unit->mode = (Mode)(int)kept->numbers[kept->count - 1];
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SerializedFMUStateSize(fmi3Instance instance, fmi3FMUState state,
                                                  size_t *size) {
  (void)instance;
  *size = ((Kept *)state)->count * sizeof(double);
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SerializeFMUState(fmi3Instance instance, fmi3FMUState state,
                                             fmi3Byte bytes[], size_t size) {
  Kept *kept = (Kept *)state;
  if (size < kept->count * sizeof(double))
    return failed((Unit *)instance, "the room for the state is too small");
  memcpy(bytes, kept->numbers, kept->count * sizeof(double));
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3DeserializeFMUState(fmi3Instance instance, const fmi3Byte bytes[],
                                               size_t size, fmi3FMUState *state) {
  Unit *unit = (Unit *)instance;
  Kept *kept = room_for_state(unit, state);
  if (!kept) return failed(unit, "no memory is left");
  if (size != kept->count * sizeof(double)) return failed(unit, "the state is of another unit");
  memcpy(kept->numbers, bytes, size);
  return fmi3OK;
}

/* ---- derivatives ---- */

static int seed(Unit *unit, int group, int i, double value, double *by_time) {
  switch (group) {
    case TIME_GROUP: *by_time += value; return 1;
    case STATE: unit->dx[i] += value * model->states[i].scale; return 1;
    case INPUT: unit->du[i] += value * model->inputs[i].scale; return 1;
    case PARAMETER: unit->dp[i] += value * model->parameters[i].scale; return 1;
    default: return 0;
  }
}

static int sensitivity_of(const Unit *unit, int group, int i, double *value) {
  switch (group) {
    case RATE: *value = unit->rates[i] / model->states[i].scale; return 1;
    case ALGEBRAIC: *value = unit->dz[i] / model->algebraics[i].scale; return 1;
    case OUTPUT: *value = unit->outputs[i] / model->outputs[i].scale; return 1;
    case TRIGGER: *value = unit->levels[i]; return 1;
    default: return 0;
  }
}

FMI3_EXPORT fmi3Status fmi3GetDirectionalDerivative(
    fmi3Instance instance, const fmi3ValueReference unknowns[], size_t n_unknowns,
    const fmi3ValueReference knowns[], size_t n_knowns, const fmi3Float64 seeds[], size_t n_seeds,
    fmi3Float64 sensitivities[], size_t n_sensitivities) {
  Unit *unit = (Unit *)instance;
  double by_time = 0.0;
  size_t k;
  int i, group, status;
  if (n_seeds != n_knowns || n_sensitivities != n_unknowns)
    return failed(unit, "the numbers of references and values differ");
  memset(unit->dx, 0, (size_t)(model->nx + model->nu + model->np) * sizeof(double));
  for (k = 0; k < n_knowns; k++) {
    group = group_of(knowns[k], &i);
    if (!seed(unit, group, i, seeds[k], &by_time)) return failed(unit, "this is no known");
  }
  status = galenic_tangent(unit->run, by_time, unit->dx, unit->du, unit->dp, unit->rates,
                           unit->outputs, unit->levels, unit->dz);
  if (status < 0) return told(unit, status);
  for (k = 0; k < n_unknowns; k++) {
    group = group_of(unknowns[k], &i);
    if (!sensitivity_of(unit, group, i, sensitivities + k))
      return failed(unit, "this is no unknown");
  }
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetAdjointDerivative(
    fmi3Instance instance, const fmi3ValueReference unknowns[], size_t n_unknowns,
    const fmi3ValueReference knowns[], size_t n_knowns, const fmi3Float64 seeds[], size_t n_seeds,
    fmi3Float64 sensitivities[], size_t n_sensitivities) {
  (void)unknowns, (void)n_unknowns, (void)knowns, (void)n_knowns, (void)seeds, (void)n_seeds;
  (void)sensitivities, (void)n_sensitivities;
  return failed((Unit *)instance, "adjoint derivatives are not provided");
}

/* ---- configuration and clocks: there are none ---- */

FMI3_EXPORT fmi3Status fmi3EnterConfigurationMode(fmi3Instance instance) {
  return failed((Unit *)instance, "the unit has no structural parameters");
}

FMI3_EXPORT fmi3Status fmi3ExitConfigurationMode(fmi3Instance instance) {
  return failed((Unit *)instance, "the unit has no structural parameters");
}

static fmi3Status no_clocks(fmi3Instance instance) {
  return failed((Unit *)instance, "the unit has no clocks");
}

FMI3_EXPORT fmi3Status fmi3GetIntervalDecimal(fmi3Instance instance,
                                              const fmi3ValueReference references[], size_t count,
                                              fmi3Float64 intervals[],
                                              fmi3IntervalQualifier qualifiers[]) {
  (void)references, (void)count, (void)intervals, (void)qualifiers;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3GetIntervalFraction(fmi3Instance instance,
                                               const fmi3ValueReference references[], size_t count,
                                               fmi3UInt64 counters[], fmi3UInt64 resolutions[],
                                               fmi3IntervalQualifier qualifiers[]) {
  (void)references, (void)count, (void)counters, (void)resolutions, (void)qualifiers;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3GetShiftDecimal(fmi3Instance instance,
                                           const fmi3ValueReference references[], size_t count,
                                           fmi3Float64 shifts[]) {
  (void)references, (void)count, (void)shifts;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3GetShiftFraction(fmi3Instance instance,
                                            const fmi3ValueReference references[], size_t count,
                                            fmi3UInt64 counters[], fmi3UInt64 resolutions[]) {
  (void)references, (void)count, (void)counters, (void)resolutions;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3SetIntervalDecimal(fmi3Instance instance,
                                              const fmi3ValueReference references[], size_t count,
                                              const fmi3Float64 intervals[]) {
  (void)references, (void)count, (void)intervals;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3SetIntervalFraction(fmi3Instance instance,
                                               const fmi3ValueReference references[], size_t count,
                                               const fmi3UInt64 counters[],
                                               const fmi3UInt64 resolutions[]) {
  (void)references, (void)count, (void)counters, (void)resolutions;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3SetShiftDecimal(fmi3Instance instance,
                                           const fmi3ValueReference references[], size_t count,
                                           const fmi3Float64 shifts[]) {
  (void)references, (void)count, (void)shifts;
  return no_clocks(instance);
}

FMI3_EXPORT fmi3Status fmi3SetShiftFraction(fmi3Instance instance,
                                            const fmi3ValueReference references[], size_t count,
                                            const fmi3UInt64 counters[],
                                            const fmi3UInt64 resolutions[]) {
  (void)references, (void)count, (void)counters, (void)resolutions;
  return no_clocks(instance);
}

/* ---- events ---- */

FMI3_EXPORT fmi3Status fmi3EvaluateDiscreteStates(fmi3Instance instance) {
  return failed((Unit *)instance, "discrete states change in fmi3UpdateDiscreteStates only");
}

FMI3_EXPORT fmi3Status fmi3UpdateDiscreteStates(
    fmi3Instance instance, fmi3Boolean *again, fmi3Boolean *terminate, fmi3Boolean *new_nominals,
    fmi3Boolean *new_states, fmi3Boolean *has_next, fmi3Float64 *next) {
  Unit *unit = (Unit *)instance;
  int changed = 0, status;
  if (unit->mode != EVENT) return failed(unit, "the unit is not in event mode");
  status = galenic_meet(unit->run, &changed);
  *again = *new_nominals = fmi3False;
  *terminate = galenic_has_ended(unit->run) != 0;
  *new_states = changed != 0;
  *next = galenic_next(unit->run);
  *has_next = *next < HUGE_VAL;
  return told(unit, status);
}

/* ---- model exchange ---- */

FMI3_EXPORT fmi3Status fmi3EnterContinuousTimeMode(fmi3Instance instance) {
  Unit *unit = (Unit *)instance;
  if (unit->mode != EVENT) return failed(unit, "continuous time follows event mode");
  unit->mode = CONTINUOUS;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3CompletedIntegratorStep(fmi3Instance instance, fmi3Boolean no_return,
                                                   fmi3Boolean *enter_event,
                                                   fmi3Boolean *terminate) {
  Unit *unit = (Unit *)instance;
  int status = galenic_settle(unit->run);
  (void)no_return;
  *enter_event = galenic_watch(unit->run) != 0;
  *terminate = fmi3False;
  return told(unit, status);
}

FMI3_EXPORT fmi3Status fmi3SetTime(fmi3Instance instance, fmi3Float64 time) {
  galenic_set_time(((Unit *)instance)->run, time);
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3SetContinuousStates(fmi3Instance instance, const fmi3Float64 values[],
                                               size_t count) {
  Unit *unit = (Unit *)instance;
  size_t k;
  if (count != FMU_CONTINUOUS) return failed(unit, "the number of states is another");
  for (k = 0; k < count; k++) {
    const galenic_quantity *q = model->states + fmu_continuous[k];
    galenic_x(unit->run)[fmu_continuous[k]] = values[k] * q->scale + q->offset;
  }
  galenic_touch(unit->run);
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetContinuousStateDerivatives(fmi3Instance instance,
                                                         fmi3Float64 values[], size_t count) {
  Unit *unit = (Unit *)instance;
  size_t k;
  int status;
  if (count != FMU_CONTINUOUS) return failed(unit, "the number of states is another");
  if ((status = galenic_evaluate(unit->run, unit->rates, NULL, NULL)) < 0)
    return told(unit, status);
  for (k = 0; k < count; k++)
    values[k] = unit->rates[fmu_continuous[k]] / model->states[fmu_continuous[k]].scale;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetEventIndicators(fmi3Instance instance, fmi3Float64 values[],
                                              size_t count) {
  Unit *unit = (Unit *)instance;
  if (count != (size_t)model->triggers) return failed(unit, "the number of indicators is another");
  return told(unit, galenic_evaluate(unit->run, NULL, NULL, values));
}

FMI3_EXPORT fmi3Status fmi3GetContinuousStates(fmi3Instance instance, fmi3Float64 values[],
                                               size_t count) {
  Unit *unit = (Unit *)instance;
  size_t k;
  int status = galenic_settle(unit->run);
  if (count != FMU_CONTINUOUS) return failed(unit, "the number of states is another");
  for (k = 0; k < count; k++)
    values[k] = shown(galenic_x(unit->run)[fmu_continuous[k]], model->states + fmu_continuous[k]);
  return told(unit, status);
}

FMI3_EXPORT fmi3Status fmi3GetNominalsOfContinuousStates(fmi3Instance instance,
                                                         fmi3Float64 values[], size_t count) {
  size_t k;
  if (count != FMU_CONTINUOUS)
    return failed((Unit *)instance, "the number of states is another");
  for (k = 0; k < count; k++)
    values[k] = model->states[fmu_continuous[k]].nominal / model->states[fmu_continuous[k]].scale;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetNumberOfEventIndicators(fmi3Instance instance, size_t *count) {
  (void)instance;
  *count = (size_t)model->triggers;
  return fmi3OK;
}

FMI3_EXPORT fmi3Status fmi3GetNumberOfContinuousStates(fmi3Instance instance, size_t *count) {
  (void)instance;
  *count = FMU_CONTINUOUS;
  return fmi3OK;
}

/* ---- co-simulation ---- */

FMI3_EXPORT fmi3Status fmi3EnterStepMode(fmi3Instance instance) {
  return failed((Unit *)instance, "co-simulation has no event mode");
}

FMI3_EXPORT fmi3Status fmi3GetOutputDerivatives(fmi3Instance instance,
                                                const fmi3ValueReference references[],
                                                size_t count, const fmi3Int32 orders[],
                                                fmi3Float64 values[], size_t sizes) {
  (void)references, (void)count, (void)orders, (void)values, (void)sizes;
  return failed((Unit *)instance, "derivatives of outputs are not provided");
}

FMI3_EXPORT fmi3Status fmi3DoStep(fmi3Instance instance, fmi3Float64 current, fmi3Float64 step,
                                  fmi3Boolean no_return, fmi3Boolean *event_needed,
                                  fmi3Boolean *terminate, fmi3Boolean *early,
                                  fmi3Float64 *last_time) {
  Unit *unit = (Unit *)instance;
  double time = galenic_time(unit->run);
  int status;
  (void)no_return;
  *event_needed = *early = *terminate = fmi3False;
  *last_time = time;
  if (unit->mode != STEP) return failed(unit, "the unit is not in step mode");
  if (fabs(current - time) > 1e-9 * fmax(fabs(current), fabs(step)))
    return failed(unit, "the step does not begin where the last one ended");
  status = galenic_advance(unit->run, current + step);
  *terminate = status == GALENIC_ENDED;
  *last_time = galenic_time(unit->run);
  return told(unit, status);
}

/* ---- scheduled execution ---- */

FMI3_EXPORT fmi3Status fmi3ActivateModelPartition(fmi3Instance instance,
                                                  fmi3ValueReference clock, fmi3Float64 time) {
  (void)clock, (void)time;
  return no_clocks(instance);
}
