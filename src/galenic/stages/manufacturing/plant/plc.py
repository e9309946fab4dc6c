"""The controller of the line: set point registers, local loops, local and remote, interlocks.

Registers hold the units of their tags (kg/h, rpm, mm). A tag shows the target; what the machine
works with follows it at the limited rate, so no write is a bump.
"""

from __future__ import annotations

from dataclasses import dataclass

from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_OUT_OF_RANGE,
    BAD_TYPE_MISMATCH,
    Value,
    WriteResult,
)

SILENCE = 10.0
RETURN_SLOWER = 10.0


@dataclass
class Register:
    """A set point: limits and rates in the unit of its tag (per second).

    ``home`` is what local control wants, ``target`` what the tag shows, ``active`` what works.
    ``is_owned``: written by the remote side since it took over. ``is_returning``: on its slow way
    home after the remote side has gone.
    """

    low: float
    high: float
    rate: float
    home: float
    target: float = 0.0
    active: float = 0.0
    is_owned: bool = False
    is_returning: bool = False

    def __post_init__(self) -> None:
        self.target = self.active = self.home

    def step(self, dt: float) -> None:
        """Move target home if local, then the active value to the target."""
        if not self.is_owned and self.target != self.home:
            slow = RETURN_SLOWER if self.is_returning else 1.0
            self.target = _toward(self.target, self.home, self.rate / slow * dt)
        elif self.is_returning:
            self.is_returning = False
        if self.active != self.target:
            self.active = _toward(self.active, self.target, self.rate * dt)

    def release(self) -> None:
        """Give the register back to local control, starting from what works now."""
        if self.is_owned:
            self.is_owned = False
            self.is_returning = True
            self.target = self.active


def _toward(value: float, goal: float, step: float) -> float:
    return min(max(goal, value - step), value + step)


@dataclass(frozen=True)
class Recipe:
    """What local control works to.

    Parameters
    ----------
    api, excipient : float [kg/h]
        Feeder set points.
    blender, paddle, turret : float [rpm]
        Speeds.
    fill_depth, main_gap, pre_gap : float [mm]
        Press.
    main_force : float [kN]
        Held by the local weight loop at constant gap.
    level : float [kg]
        Press hopper.
    tablet : float [kg]
        Nominal weight, for the feed-forward of the turret speed.
    stations : int
        Of the turret.
    """

    api: float = 2.0
    excipient: float = 18.0
    blender: float = 250.0
    paddle: float = 40.0
    turret: float = 200 / 3
    fill_depth: float = 9.69
    main_gap: float = 3.8
    pre_gap: float = 5.0
    main_force: float = 7.6
    level: float = 0.40
    tablet: float = 250e-6
    stations: int = 20


@dataclass
class Measured:
    """What the controller sees in a scan, units of the tags."""

    api_flow: float = 2.0
    level: float = 0.4
    main_force: float = 7.6


class Plc:
    """Local and remote control of the line.

    Parameters
    ----------
    recipe : Recipe
        Set points of local control.
    dt : float [s]
        Scan time.
    control : str
        ``local``: both feeders at their set points. ``ratio``: the excipient follows the
        displayed API flow.
    """

    level_gain = 30.0
    level_integral = 500.0
    force_gain = 0.25
    force_move = 0.02
    divert_outside = (9.0, 11.0)
    divert_after = 2
    divert_for = 210.0
    open_without_remote = frozenset({"Line.Remote", "Line.Heartbeat", "Line.Running"})

    def __init__(self, recipe: Recipe, dt: float, control: str = "local") -> None:
        r = self.recipe = recipe
        self.dt = dt
        self.control = control
        self.registers = {
            "FeederAPI.Setpoint": Register(0.0, 5.0, 0.2, r.api),
            "FeederEXC.Setpoint": Register(0.0, 40.0, 1.5, r.excipient),
            "Blender.Speed": Register(100.0, 400.0, 5.0, r.blender),
            "FeedFrame.Speed": Register(10.0, 80.0, 2.0, r.paddle),
            "Press.TurretSpeed": Register(20.0, 110.0, 2.0, r.turret),
            "Press.FillDepth": Register(6.0, 14.0, 0.05, r.fill_depth),
            "Press.MainGap": Register(2.5, 6.0, 0.02, r.main_gap),
            "Press.PreGap": Register(3.0, 8.0, 0.02, r.pre_gap),
        }
        self.remote = False
        self.running = True
        self.heartbeat = 0
        self.commanded = False
        self.gate = False
        self.fallbacks = 0
        self.refused: list[tuple[float, str, str]] = []
        self.press_held = self.feeders_held = False
        self._beat_at = 0.0
        self._divert_until = -1.0
        self._nir_outside = 0
        self._level_part = 0.0
        self._forces: list[float] = []

    # -- writes ---------------------------------------------------------------------------------

    def write(self, tag: str, value: Value, time: float) -> WriteResult:
        """Apply a write at ``time`` [s]; a refused one says why and changes nothing."""
        if tag not in self.open_without_remote and not self.remote:
            return self._refuse(time, tag, BAD_NOT_WRITABLE, "the line is in local; Line.Remote")
        if tag in self.registers:
            return self._write_register(tag, float(value), time)
        if tag == "Line.Remote":
            self._switch_remote(bool(value), time)
        elif tag == "Line.Heartbeat":
            self._beat(int(value), time)
        elif tag == "Line.Running":
            self.running = bool(value)
        elif tag == "Diverter.Command":
            self.commanded = bool(value)
        else:
            return self._refuse(time, tag, BAD_NOT_WRITABLE, "this tag is read only")
        return WriteResult(read_back=value)

    def refuse_type(self, tag: str, why: str, time: float) -> WriteResult:
        """Refuse a value that the tag cannot hold."""
        return self._refuse(time, tag, BAD_TYPE_MISMATCH, why)

    def _write_register(self, tag: str, value: float, time: float) -> WriteResult:
        register = self.registers[tag]
        if not register.low <= value <= register.high:
            why = f"{value:g} is outside {register.low:g} to {register.high:g}"
            return self._refuse(time, tag, BAD_OUT_OF_RANGE, why)
        register.is_owned = True
        register.is_returning = False
        register.target = value
        return WriteResult(read_back=value)

    def _refuse(self, time: float, tag: str, status: int, why: str) -> WriteResult:
        self.refused.append((time, tag, why))
        return WriteResult(status, self._held(tag), f"0x{status:08X}: {why}")

    def _held(self, tag: str) -> Value | None:
        if tag in self.registers:
            return self.registers[tag].target
        flags = {"Line.Remote": self.remote, "Diverter.Command": self.commanded}
        return flags.get(tag)

    def _switch_remote(self, remote: bool, time: float) -> None:
        if remote and not self.remote:
            self._beat_at = time
        if self.remote and not remote:
            self._go_local(time)
        self.remote = remote

    def _beat(self, count: int, time: float) -> None:
        if count != self.heartbeat:
            self._beat_at = time
        self.heartbeat = count

    # -- scan -----------------------------------------------------------------------------------

    def scan(self, time: float, measured: Measured) -> None:
        """One scan: watchdog, interlocks, local loops, ramps, gate."""
        if self.remote and time - self._beat_at > SILENCE:
            self.fallbacks += 1
            self._go_local(time)
        self._interlock(measured.level)
        self._follow_ratio(measured.api_flow)
        self._hold_level(measured.level)
        for register in self.registers.values():
            register.step(self.dt)
        self.gate = self.commanded or time < self._divert_until

    def see_force(self, force: float) -> None:
        """The mean force [kN] of one second; after five of them the weight loop moves."""
        self._forces.append(force)
        if len(self._forces) < 5:
            return
        mean = sum(self._forces) / len(self._forces)
        self._forces.clear()
        fill = self.registers["Press.FillDepth"]
        if fill.is_owned or not self.running or self.press_held:
            fill.home = fill.active
            return
        # Near the working point one percent of weight makes about five percent of force.
        error = (self.recipe.main_force - mean) / self.recipe.main_force / 5.0
        move = self.force_gain * error * fill.home
        move = min(max(move, -self.force_move), self.force_move)
        fill.home = min(max(fill.home + move, fill.low), fill.high)
        fill.is_returning = False

    def see_content(self, content: float, time: float) -> None:
        """A good NIR result [%]; several outside the limits divert for a fixed time."""
        low, high = self.divert_outside
        self._nir_outside = 0 if low <= content <= high else self._nir_outside + 1
        if self._nir_outside >= self.divert_after:
            self._divert_until = time + self.divert_for

    def _go_local(self, time: float) -> None:
        self.remote = False
        fill = self.registers["Press.FillDepth"]
        fill.home = fill.active if fill.is_owned else fill.home
        for register in self.registers.values():
            register.release()
        if self.commanded:
            # What the twin wanted away goes away: local control does not know better.
            self.commanded = False
            self._divert_until = max(self._divert_until, time + self.divert_for)

    def _interlock(self, level: float) -> None:
        self.press_held = level < (0.12 if self.press_held else 0.04)
        self.feeders_held = level > (0.80 if self.feeders_held else 1.00)

    def _follow_ratio(self, api_flow: float) -> None:
        if self.control == "ratio":
            excipient = self.registers["FeederEXC.Setpoint"]
            wanted = api_flow * self.recipe.excipient / self.recipe.api
            excipient.home = min(max(wanted, excipient.low), excipient.high)

    def _hold_level(self, level: float) -> None:
        r, turret = self.recipe, self.registers["Press.TurretSpeed"]
        feed = self.registers["FeederAPI.Setpoint"].target
        feed += self.registers["FeederEXC.Setpoint"].target
        base = feed / 60.0 / (r.tablet * r.stations) + self.level_gain * (level - r.level)
        if turret.is_owned or turret.is_returning:
            # Follow what is, so that local control can take over without a bump.
            self._level_part = turret.active - base
            turret.home = turret.active
            return
        if self.running and not self.press_held:
            self._level_part += self.dt / self.level_integral * self.level_gain * (level - r.level)
            self._level_part = min(max(self._level_part, -20.0), 20.0)
        turret.home = min(max(base + self._level_part, turret.low), turret.high)
