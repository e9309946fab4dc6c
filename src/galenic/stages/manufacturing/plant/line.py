"""The virtual plant: a continuous direct compression line as a `Plant` behind its tags."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import replace

from galenic.clock import SECOND
from galenic.connect.connector import TagInfo, Value, WriteResult, prepare_write, require_tags
from galenic.errors import DataError, GalenicError
from galenic.signals import Quality, Sample
from galenic.stages.manufacturing.plant.analysers import Nir, Result, Tester
from galenic.stages.manufacturing.plant.disturbances import Disturbance, Fault
from galenic.stages.manufacturing.plant.feeder import Feeder
from galenic.stages.manufacturing.plant.metrics import TruthRecord
from galenic.stages.manufacturing.plant.mixing import Blender, FeedFrame, Hopper
from galenic.stages.manufacturing.plant.noise import Normals
from galenic.stages.manufacturing.plant.parameters import HOUR, LineParameters
from galenic.stages.manufacturing.plant.plc import Measured, Plc, Recipe
from galenic.stages.manufacturing.plant.powder import NOTHING, Parcel, join, parcel_of, share
from galenic.stages.manufacturing.plant.press import Press, Settings, Tablets
from galenic.stages.manufacturing.plant.scenarios import Scenario, find_scenario
from galenic.stages.manufacturing.plant.tags import TAGS, TRUTH

BAD_NO_COMMUNICATION = 0x80310000
BAD_SENSOR_FAILURE = 0x808C0000
CONTROLS = ("local", "ratio")
_REPEAT = 10
_INFO = {info.tag: info for info in TAGS}


class TabletLine:
    """A tablet line that lives its own life: physics, controllers, noise, faults.

    Parameters
    ----------
    scenario : str or Scenario
        Name of a scenario, path of a scenario file (.toml), or a scenario.
    seed : int
        Of all noise and of the jitter of named scenarios. The noise does not depend on what is
        written to the plant: two controllers with one seed meet the same disturbances.
    control : str
        Local control: ``local`` (both feeders at their set points) or ``ratio`` (the excipient
        follows the displayed API flow).
    start : int, optional [ns]
        Time of the first step; without it the first call of `advance` sets it.
    parameters : LineParameters
        The machines and powders.
    dt : float [s]
        Internal step; a whole number of steps makes a second.
    keep : bool
        Keep the truth of every second for `record`.

    Notes
    -----
    The line starts in steady production. Disturbances act at whole seconds.
    """

    def __init__(
        self,
        scenario: str | Scenario = "day",
        seed: int = 1,
        *,
        control: str = "local",
        start: int | None = None,
        parameters: LineParameters | None = None,
        dt: float = 0.2,
        keep: bool = True,
    ) -> None:
        if control not in CONTROLS:
            raise DataError(f"no local control {control!r}", expected=", ".join(CONTROLS))
        self.steps_per_second = round(1.0 / dt)
        if self.steps_per_second < 1 or abs(self.steps_per_second * dt - 1.0) > 1e-12:
            raise DataError(f"step {dt:g} s", expected="1 s divided by a whole number, as 0.2")
        self.scenario = (
            scenario if isinstance(scenario, Scenario) else find_scenario(scenario, seed)
        )
        self.seed = seed
        self.dt = dt
        self.parameters = p = parameters or LineParameters()
        self.origin = start
        self.faults: list[Fault] = []
        self.is_cut_off = False
        self._late: list[Sample] = []
        self._events = sorted(self.scenario.disturbances, key=lambda event: event.at)
        self._going: list[Disturbance] = []
        self._steps = 0
        self._make_machines(p, seed)
        self.plc = Plc(self._recipe(), dt, control)
        self._measured = Measured(main_force=self.plc.recipe.main_force)
        self._shown: dict[str, Value] = {}
        self._rows = array("d") if keep else None
        self._row: tuple[float, ...] = ()

    def _make_machines(self, p: LineParameters, seed: int) -> None:
        recipe = Recipe()
        blend = join(
            parcel_of(p.api_powder, recipe.api / (recipe.api + recipe.excipient)),
            parcel_of(p.excipient_powder, recipe.excipient / (recipe.api + recipe.excipient)),
        )
        self.feeders = {
            "API": Feeder(p.api, p.api_powder, recipe.api / HOUR, self.dt, Normals(seed, 1)),
            "EXC": Feeder(
                p.excipient, p.excipient_powder, recipe.excipient / HOUR, self.dt, Normals(seed, 2)
            ),
        }
        self.blender = Blender(p.mixing, blend, self.dt)
        self.hopper = Hopper(p.mixing, blend)
        self.frame = FeedFrame(p.mixing, blend)
        self.press = Press(p.press)
        self.nir = Nir(p.analysers, Normals(seed, 3))
        self.tester = Tester(p.analysers, Normals(seed, 4))
        self._press_noise = Normals(seed, 5)
        self._cell_noise = Normals(seed, 6)
        self.arriving_lot = p.excipient_powder
        self.arriving_density = self.arriving_hardening = 1.0
        self.tablets: Tablets | None = None
        self.good = self.waste = 0.0
        self._gate = False
        self._second_mass = self._second_count = 0.0
        self._second_parcel = NOTHING
        self._entering = blend
        self._filled = self.mass_held()[0] - p.api.start - p.excipient.start

    def _recipe(self) -> Recipe:
        """The recipe whose fill depth and force give label weight on the cold, quiet line."""
        nominal, press = Recipe(), self.parameters.press
        settings = Settings(
            press.turret_speed,
            nominal.paddle / 60.0,
            nominal.fill_depth * 1e-3,
            nominal.main_gap * 1e-3,
            nominal.pre_gap * 1e-3,
        )
        blend = self.frame.blend
        depth = nominal.fill_depth * nominal.tablet / self.press.weight(blend, settings, 1.0)
        made = self.press.compress(blend, nominal.tablet, settings, 0.0)
        return replace(
            nominal,
            fill_depth=depth,
            main_force=made.main_force * 1e-3,
            turret=press.turret_speed * 60.0,
            level=self.parameters.mixing.hopper,
            stations=press.stations,
        )

    # -- the plant from outside -----------------------------------------------------------------

    def tags(self) -> list[TagInfo]:
        """Every tag with unit, access and type."""
        return list(TAGS)

    @property
    def now(self) -> int:
        """Plant time [ns]; 0 before the first step when no start was given."""
        return (self.origin or 0) + self._steps * SECOND // self.steps_per_second

    @property
    def elapsed(self) -> float:
        """Plant time since the start [s]."""
        return self._steps * self.dt

    def advance(self, until: int) -> list[Sample]:
        """Run to ``until`` [ns]; the samples that became available, by time of arrival."""
        samples: list[Sample] = []
        if self.origin is None:
            self.origin = until
        if not self._row:
            samples += self._second()
        step = SECOND // self.steps_per_second
        for _ in range((until - self.now) // step):
            self._step()
            self._steps += 1
            if self._steps % self.steps_per_second == 0:
                samples += self._second()
        return samples

    def write(self, tag: str, value: Value, unit: str, time: int) -> WriteResult:
        """Apply a write now; a refused one has a bad status and changes nothing.

        Refused are: writes while the connection is cut off, values of the wrong type or unit,
        values outside the limits, read-only tags and, while the line is in local, everything but
        Line.Remote, Line.Heartbeat and Line.Running. `plc.refused` keeps them.
        """
        require_tags([tag], _INFO, "the tablet line")
        if self.is_cut_off:
            return WriteResult(BAD_NO_COMMUNICATION, detail="no communication with the plant")
        try:
            accepted = prepare_write(_INFO[tag], value, unit)
        except GalenicError as error:
            return self.plc.refuse_type(tag, str(error).replace("\n", ";"), self.elapsed)
        return self.plc.write(tag, accepted, self.elapsed)

    def truth(self) -> dict[str, float]:
        """The hidden truth of the last second by tag, in the units of `truth_tags`."""
        return dict(zip((info.tag for info in TRUTH), self._row, strict=False))

    def truth_tags(self) -> list[TagInfo]:
        """The tag table of the truth, for a server of its own."""
        return list(TRUTH)

    def truth_samples(self) -> list[Sample]:
        """The truth of the last second as samples."""
        now = self.now
        return [
            Sample(info.tag, bool(v) if info.type == "bool" else v, info.unit, now, now)
            for info, v in zip(TRUTH, self._row, strict=False)
        ]

    def record(self) -> TruthRecord:
        """The truth of every second so far, for scoring."""
        if self._rows is None:
            raise DataError("this plant keeps no record", hint="make it with keep=True")
        return TruthRecord.of_rows([info.tag for info in TRUTH], self._rows)

    def mass_held(self) -> Parcel:
        """All powder in the line, feeder hoppers included."""
        held = join(self.blender.held(), join(self.hopper.held(), self.frame.held()))
        for feeder in self.feeders.values():
            held = join(held, feeder.tank.held)
        return held

    def mass_in(self) -> float:
        """All powder [kg] brought since the start, the initial filling included."""
        return self._filled + sum(feeder.brought for feeder in self.feeders.values())

    # -- for disturbances -----------------------------------------------------------------------

    def restock(self) -> None:
        """Let refills of excipient bring what arrives now."""
        lot = self.arriving_lot
        self.feeders["EXC"].source = replace(
            lot,
            volume=lot.volume / self.arriving_density,
            hardening=lot.hardening * self.arriving_hardening,
        )

    def deliver_late(self, samples: list[Sample]) -> None:
        """Send samples that were held back; they arrive now, marked as historical."""
        now = self.now
        self._late += [replace(s, received_time=now, historical=True) for s in samples]

    # -- one step -------------------------------------------------------------------------------

    def _step(self) -> None:
        plc, dt = self.plc, self.dt
        plc.scan(self._steps * dt, self._measured)
        registers = plc.registers
        feeding = plc.running and not plc.feeders_held
        api = self.feeders["API"].step(registers["FeederAPI.Setpoint"].active / HOUR, feeding)
        exc = self.feeders["EXC"].step(registers["FeederEXC.Setpoint"].active / HOUR, feeding)
        self._entering = join(api, exc)
        impeller = registers["Blender.Speed"].active / 60.0 if plc.running else 0.0
        blend = self.blender.step(self._entering, impeller)
        self.nir.see(blend[0], blend[1])
        self._measured.api_flow = self.feeders["API"].shown_flow * HOUR
        self._make_tablets(blend)

    def _make_tablets(self, blend: Parcel) -> None:
        settings = self._settings()
        count = settings.turret * self.parameters.press.stations * self.dt
        head = self.hopper.level / self.parameters.mixing.hopper
        wanted = count * self.press.weight(self.frame.blend, settings, head) if count else 0.0
        filled = self.frame.step(self.hopper.step(blend, wanted))
        if self._gate:
            self.waste += filled[0]
        else:
            self.good += filled[0]
        self._second_mass += filled[0]
        self._second_count += count
        self._second_parcel = join(self._second_parcel, filled)

    def _settings(self) -> Settings:
        registers = self.plc.registers
        turns = self.plc.running and not self.plc.press_held
        return Settings(
            registers["Press.TurretSpeed"].active / 60.0 if turns else 0.0,
            registers["FeedFrame.Speed"].active / 60.0,
            registers["Press.FillDepth"].active * 1e-3,
            registers["Press.MainGap"].active * 1e-3,
            registers["Press.PreGap"].active * 1e-3,
        )

    # -- once per second ------------------------------------------------------------------------

    def _second(self) -> list[Sample]:
        second = self._steps // self.steps_per_second
        self._disturb(float(second))
        self._compress(second)
        p = self.parameters.analysers
        if second and second % round(p.nir_every) == 0:
            self.nir.measure(float(second))
        if second and second % round(p.tester_every) == 0 and self.tablets and self._second_mass:
            self.tester.test(float(second), self.tablets)
        self._measured.level = self.hopper.level + p.hopper_noise * self._cell_noise.next()
        holdup = self.blender.mass + p.blender_noise * self._cell_noise.next()
        samples = list(self._report(second, self._analogs(holdup)))
        self._keep_truth()
        self._gate = self.plc.gate
        self._second_mass = self._second_count = 0.0
        self._second_parcel = NOTHING
        return samples

    def _disturb(self, time: float) -> None:
        while self._events and self._events[0].at <= time:
            event = self._events.pop(0)
            event.begin(self)
            self._going.append(event)
        for event in list(self._going):
            if time >= event.at + event.duration:
                event.end(self)
                self._going.remove(event)
            else:
                event.during(self, time - event.at)

    def _compress(self, second: int) -> None:
        p = self.parameters.press
        first, second_draw, third = (self._press_noise.next() for _ in range(3))
        self._forces = (0.0, 0.0, 0.0)
        if self._second_count <= 0.0 or self._second_mass <= 0.0:
            if second == 0:
                self._second_parcel = share(self.frame.blend, 1e-9)
                self.tablets = self._tablets_of(self.plc.recipe.tablet, 0.0)
            return
        warm = p.warming * (1.0 - math.exp(-second / p.warming_tau))
        made = self.tablets = self._tablets_of(self._second_mass / self._second_count, warm)
        # The mean of a revolution inherits the scatter of its tablets: about 5 % force per 1 %.
        spread = math.hypot(5.0 * made.rsd / math.sqrt(p.stations), p.force_noise)
        main = made.main_force * (1.0 + spread * first)
        self._forces = (
            main * 1e-3,
            made.pre_force * (1.0 + 0.7 * spread * second_draw) * 1e-3,
            made.ejection_force * (1.0 + 0.03 * third),
        )
        self._measured.main_force = main * 1e-3
        self.plc.see_force(main * 1e-3)

    def _tablets_of(self, weight: float, warm: float) -> Tablets:
        return self.press.compress(self._second_parcel, weight, self._settings(), warm)

    def _analogs(self, holdup: float) -> dict[str, float]:
        api, exc = self.feeders["API"], self.feeders["EXC"]
        main, pre, ejection = self._forces
        return {
            "FeederAPI.Flow": api.shown_flow * HOUR,
            "FeederEXC.Flow": exc.shown_flow * HOUR,
            "FeederAPI.Weight": api.weight,
            "FeederEXC.Weight": exc.weight,
            "FeederAPI.Speed": api.speed * 60.0,
            "FeederEXC.Speed": exc.speed * 60.0,
            "Blender.Holdup": holdup,
            "Hopper.Level": self._measured.level,
            "Press.MainForce": main,
            "Press.PreForce": pre,
            "Press.EjectionForce": ejection,
            "Press.Rate": self._settings().turret * self.parameters.press.stations * HOUR,
        }

    def _held_values(self) -> dict[str, Value]:
        plc, feeders = self.plc, self.feeders
        values: dict[str, Value] = {tag: r.target for tag, r in plc.registers.items()}
        values["FeederAPI.Refilling"] = feeders["API"].is_volumetric
        values["FeederEXC.Refilling"] = feeders["EXC"].is_volumetric
        values["Diverter.Command"] = plc.commanded
        values["Diverter.State"] = self._gate
        values["Line.Remote"] = plc.remote
        values["Line.Heartbeat"] = plc.heartbeat
        values["Line.Running"] = plc.running
        values["Line.Lot"] = feeders["EXC"].source.name
        return values

    def _report(self, second: int, analogs: dict[str, float]) -> Iterator[Sample]:
        now = self.now
        made = [Sample(tag, value, _INFO[tag].unit, now, now) for tag, value in analogs.items()]
        for tag, value in self._held_values().items():
            if second % _REPEAT == 0 or self._shown.get(tag) != value:
                self._shown[tag] = value
                made.append(Sample(tag, value, _INFO[tag].unit, now, now))
        time = float(second)
        for result in (*self.nir.waiting.arrived(time), *self.tester.waiting.arrived(time)):
            made.append(self._sample_of(result))
            if result.tag == "NIR.Content" and result.is_good:
                self.plc.see_content(result.value, time)
        late, self._late = self._late, []
        yield from late
        yield from (told for told in map(self._told, made) if told is not None)

    def _sample_of(self, result: Result) -> Sample:
        origin = self.origin or 0
        measured = origin + round(result.measured) * SECOND
        arrived = origin + round(result.arrives) * SECOND
        unit = _INFO[result.tag].unit
        if result.is_good:
            return Sample(result.tag, result.value, unit, measured, arrived)
        status = BAD_SENSOR_FAILURE
        return Sample(result.tag, result.value, unit, measured, arrived, Quality.BAD, status)

    def _told(self, sample: Sample) -> Sample | None:
        told: Sample | None = sample
        for fault in self.faults:
            if told is not None and fault.concerns(told.tag):
                told = fault.alter(told)
        return told

    def _keep_truth(self) -> None:
        api, exc = self.feeders["API"], self.feeders["EXC"]
        made, tablet, frame = self.tablets, self._second_parcel, self.frame.blend
        if made is None:
            return
        seen, entering, hopper = self.blender.leaving, self._entering, self.hopper.held()
        self._row = (
            _percent(entering, 1),
            _percent(seen, 1),
            _percent(hopper, 1),
            _percent(tablet, 1),
            made.weight * 1e6,
            made.rsd * 100.0,
            made.hardness,
            made.thickness * 1e3,
            made.main_force * 1e-3,
            api.flow * HOUR,
            exc.flow * HOUR,
            api.feed_factor() * 1e3,
            exc.feed_factor() * 1e3,
            api.tank.held[0],
            exc.tank.held[0],
            self.blender.mass,
            self.blender.outflow * HOUR,
            self.hopper.level,
            frame[0] / frame[2],
            frame[3] / frame[0],
            self.nir.error * 100.0,
            _percent(tablet, 5),
            self._second_count,
            self._second_mass,
            float(self._gate),
            self.mass_in(),
            self.good,
            self.waste,
            self.mass_held()[0],
        )
        if self._rows is not None:
            self._rows.extend(self._row)


def _percent(parcel: Parcel, tracer: int) -> float:
    return 100.0 * parcel[tracer] / parcel[0] if parcel[0] > 0.0 else 0.0
