"""The tag tables of the virtual plant: what the controller offers, and the hidden truth."""

from __future__ import annotations

from galenic.connect.connector import TagInfo


def _table(lines: str) -> tuple[TagInfo, ...]:
    infos = []
    for line in lines.strip().splitlines():
        tag, unit, access, kind, meaning = (part.strip() for part in line.split("|"))
        infos.append(TagInfo(tag, unit, access == "rw", meaning, kind))
    return tuple(infos)


TAGS = _table("""
FeederAPI.Setpoint   | kg/h     | rw | float | mass flow set point, local limits 0 to 5
FeederEXC.Setpoint   | kg/h     | rw | float | mass flow set point, local limits 0 to 40
FeederAPI.Flow       | kg/h     | r  | float | from weight loss; blind: speed x learned factor
FeederEXC.Flow       | kg/h     | r  | float | from weight loss; blind: speed x learned factor
FeederAPI.Weight     | kg       | r  | float | hopper net weight
FeederEXC.Weight     | kg       | r  | float | hopper net weight
FeederAPI.Speed      | rpm      | r  | float | screw speed
FeederEXC.Speed      | rpm      | r  | float | screw speed
FeederAPI.Refilling  |          | r  | bool  | volumetric: refill or settling after it
FeederEXC.Refilling  |          | r  | bool  | volumetric: refill or settling after it
Blender.Speed        | rpm      | rw | float | impeller speed
Blender.Holdup       | kg       | r  | float | blender mass from load cells
NIR.Content          | %        | r  | float | API content (w/w) after the blender, arrives later
Hopper.Level         | kg       | r  | float | press hopper mass
FeedFrame.Speed      | rpm      | rw | float | paddle speed
Press.TurretSpeed    | rpm      | rw | float | turret speed, local: holds the hopper level
Press.FillDepth      | mm       | rw | float | die fill depth, local: holds the main force
Press.MainGap        | mm       | rw | float | smallest punch distance, main compression
Press.PreGap         | mm       | rw | float | smallest punch distance, pre-compression
Press.MainForce      | kN       | r  | float | mean of the last turret revolution
Press.PreForce       | kN       | r  | float | mean of the last turret revolution
Press.EjectionForce  | N        | r  | float | mean of the last turret revolution
Press.Rate           | tablet/h | r  | float | production rate
Tester.Weight        | mg       | r  | float | mean of a sample of 10 tablets, arrives later
Tester.Thickness     | mm       | r  | float | mean of the same sample
Tester.Hardness      | N        | r  | float | mean of the same sample, of every fifth one
Diverter.Command     |          | rw | bool  | true diverts to waste
Diverter.State       |          | r  | bool  | true while the gate diverts
Line.Remote          |          | rw | bool  | remote set points are taken
Line.Heartbeat       | count    | rw | int   | written by the remote side as a changing count
Line.Running         |          | rw | bool  | the line runs
Line.Lot             |          | r  | str   | lot of excipient in use
""")

TRUTH = _table("""
True.ContentIn         | %        | r | float | API content of what falls into the blender
True.ContentBlend      | %        | r | float | API content at the NIR probe
True.ContentHopper     | %        | r | float | mean API content of the press hopper
True.ContentTablet     | %        | r | float | API content of the tablets made in this second
True.TabletWeight      | mg       | r | float | mean weight of the tablets made in this second
True.TabletRsd         | %        | r | float | weight spread between single tablets
True.TabletHardness    | N        | r | float | mean hardness
True.TabletThickness   | mm       | r | float | mean thickness
True.MainForce         | kN       | r | float | without noise
True.FlowAPI           | kg/h     | r | float | powder that leaves the feeder
True.FlowEXC           | kg/h     | r | float | powder that leaves the feeder
True.FeedFactorAPI     | g/rev    | r | float | without fast noise
True.FeedFactorEXC     | g/rev    | r | float | without fast noise
True.WeightAPI         | kg       | r | float | hopper mass without noise
True.WeightEXC         | kg       | r | float | hopper mass without noise
True.Holdup            | kg       | r | float | powder in the blender
True.BlenderOutflow    | kg/h     | r | float | powder that leaves the blender
True.HopperLevel       | kg       | r | float | powder in the press hopper
True.FillDensity       | kg/m**3  | r | float | bulk density of the blend in the feed frame
True.Hardening         |          | r | float | resistance to compression in the feed frame
True.NirError          | %        | r | float | what the NIR reads too much, without noise
True.NewLot            | %        | r | float | share of changed excipient lots in the tablets
True.Tablets           | tablet   | r | float | tablets made in this second
True.MassTablets       | kg       | r | float | mass of the tablets made in this second
True.Diverted          |          | r | bool  | whether they went to waste
True.MassIn            | kg       | r | float | all powder brought, initial filling included
True.MassGood          | kg       | r | float | all accepted tablets
True.MassWaste         | kg       | r | float | all diverted tablets
True.MassHeld          | kg       | r | float | all powder in the line
""")
