"""Rosenbrock methods in the transformed form of Hairer and Wanner.

For M y' = f(t, y) with step h and W = M / (h gamma) - J::

    W k_i = f(t + c_i h, y + sum a_ij k_j) + M sum (C_ij / h) k_j + h d_i df/dt(t, y)

All methods are stiffly accurate: the last stages only add the previous one, the new value is the
last argument plus the last k, and that k is the error estimate.

Rows of f that are linear need no evaluation at a stage. With R_i = h W k_i of a differential row,
the product h J k_j is k_j / gamma - R_j; so

    R_i = h f(y) + sum a_ij (k_j / gamma - R_j) + sum C_ij k_j = start_i h f(y) + sum carry_ij k_j

and in a row with M = 0, R_i = W k_i = start_i f(y). A curved term phi adds its share of
rho_i = r_i - sum a_ij rho_j, where r_i = phi(u_i) - phi(y) - dphi/dy (u_i - y) + h d_i dphi/dt.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from galenic.errors import UnknownName

Row = tuple[float, ...]
_DIGITS = 1e-11  # published coefficients are exact up to here


@dataclass(frozen=True)
class Rosenbrock:
    """Coefficients of one method.

    ``a`` and ``coupling`` (C) hold one row per stage from the second on; ``a`` stops where the
    argument of a stage is that of the one before plus its k. ``dense`` holds the rows of D_m.
    """

    name: str
    order: int
    gamma: float
    nodes: Row
    slopes: Row
    a: tuple[Row, ...]
    coupling: tuple[Row, ...]
    dense: tuple[Row, ...]
    source: str

    @property
    def stages(self) -> int:
        """Stages per step."""
        return len(self.nodes)

    @cached_property
    def start(self) -> Row:
        """Shares of h f(y) in the right-hand sides of linear rows, one per stage."""
        return tuple(_rounded(start) for start, _ in self._straight)

    @cached_property
    def carry(self) -> tuple[Row, ...]:
        """Shares of the earlier k in the right-hand sides of linear rows, one row per stage."""
        return tuple(tuple(map(_rounded, carry)) for _, carry in self._straight)

    @cached_property
    def again(self) -> tuple[float, ...]:
        """Shares of the right-hand side before where the carry is in proportion to its, else 0.

        The last stage of all methods is such a one.
        """
        found = [0.0] * self.stages
        for s in range(2, self.stages):
            before, now = self._straight[s - 1], self._straight[s]
            if abs(before[0]) > _DIGITS or abs(now[0]) > _DIGITS:
                continue
            share = now[1][0] / before[1][0]
            apart = (a - share * b for a, b in zip(now[1], before[1], strict=False))
            if all(abs(gap) < _DIGITS for gap in apart):
                found[s] = float(share)
        return tuple(found)

    @cached_property
    def _straight(self) -> list[tuple[Fraction, list[Fraction]]]:
        found: list[tuple[Fraction, list[Fraction]]] = []
        inverse = 1 / Fraction(self.gamma)
        row: list[Fraction] = []
        for s in range(self.stages):
            if 0 < s <= len(self.a):
                row = [Fraction(share) for share in self.a[s - 1]]
            elif s:
                row = [*row, Fraction(1)]
            start, carry = Fraction(1), [Fraction(0)] * s
            for j, share in enumerate(row):
                carry[j] += share * inverse + Fraction(self.coupling[s - 1][j])
                start -= share * found[j][0]
                for i, part in enumerate(found[j][1]):
                    carry[i] -= share * part
            found.append((start, carry))
        return found


def _rounded(share: Fraction) -> float:
    return float(share) if abs(share) > _DIGITS else 0.0


RODAS5P = Rosenbrock(
    "rodas5p",
    5,
    0.21193756319429014,
    (0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1, 1, 1),
    (
        0.21193756319429014,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0,
        0,
        0,
    ),
    (
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        (
            -7.502846399306121,
            2.561846144803919,
            -11.627539656261098,
            -0.18268767659942256,
            0.030198172008377946,
        ),
    ),
    (
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (
            24.854864614690072,
            -3.0009227002832186,
            47.4931110020768,
            5.5814197821558125,
            -0.6610691825249471,
        ),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    ),
    (
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
    "Steinebach 2023, BIT Numer. Math. 63, 27, doi:10.1007/s10543-023-00967-x",
)

RODAS5 = Rosenbrock(
    "rodas5",
    5,
    0.19,
    (0, 0.38, 0.3878509998321533, 0.483971893787384, 0.457047700881958, 1, 1, 1),
    (
        0.19,
        -0.1823079225333714636,
        -0.319231832186874912,
        0.3449828624725343,
        -0.377417564392089818,
        0,
        0,
        0,
    ),
    (
        (2.0,),
        (3.040894194418781, 1.041747909077569),
        (2.576417536461461, 1.62208306077664, -0.9089668560264532),
        (2.760842080225597, 1.446624659844071, -0.3036980084553738, 0.2877498600325443),
        (
            -14.09640773051259,
            6.925207756232704,
            -41.47510893210728,
            2.343771018586405,
            24.13215229196062,
        ),
    ),
    (
        (-10.31323885133993,),
        (-21.04823117650003, -7.234992135176716),
        (32.22751541853323, -4.943732386540191, 19.44922031041879),
        (-20.69865579590063, -8.816374604402768, 1.260436877740897, -0.7495647613787146),
        (
            -46.22004352711257,
            -17.49534862857472,
            -289.6389582892057,
            93.60855400400906,
            318.3822534212147,
        ),
        (
            34.20013733472935,
            -14.1553540271769,
            57.823356409884,
            25.83362985412365,
            1.408950972071624,
            -6.551835421242162,
        ),
        (
            42.57076742291101,
            -13.80770672017997,
            93.98938432427124,
            18.77919633714503,
            -31.5835918722337,
            -6.685968952921985,
            -5.810979938412932,
        ),
    ),
    (
        (
            27.354592673333357,
            -6.925207756232857,
            26.40037733258859,
            0.5635230501052979,
            -4.699151156849391,
            -1.6008677469422725,
            -1.5306074446748028,
            -1.3929872940716344,
        ),
        (
            44.19024239501722,
            1.3677947663381929e-13,
            202.93261852171622,
            -35.5669339789154,
            -181.91095152160645,
            3.4116351403665033,
            2.5793540257308067,
            2.2435122582734066,
        ),
        (
            -44.0988150021747,
            -5.755396159656812e-13,
            -181.26175034586677,
            56.99302194811676,
            183.21182741427398,
            -7.480257918273637,
            -5.792426076169686,
            -5.32503859794143,
        ),
    ),
    "Di Marzo 1993, RODAS5(4), thesis, Geneva",
)

RODAS4 = Rosenbrock(
    "rodas4",
    4,
    0.25,
    (0, 0.386, 0.21, 0.63, 1, 1),
    (0.25, -0.1043, 0.1035, -0.0362, 0, 0),
    (
        (1.544,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895),
    ),
    (
        (-5.6688,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616),
        (
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ),
    ),
    (
        (
            10.12623508344586,
            -7.487995877610167,
            -34.80091861555747,
            -7.992771707568823,
            1.025137723295662,
            0,
        ),
        (
            -0.6762803392801253,
            6.087714651680015,
            16.43084320892478,
            24.76722511418386,
            -6.594389125716872,
            0,
        ),
    ),
    "Hairer and Wanner 1996, Solving Ordinary Differential Equations II, 2nd ed.",
)

RODAS4P = Rosenbrock(
    "rodas4p",
    4,
    0.25,
    (0, 0.75, 0.21, 0.63, 1, 1),
    (0.25, -0.5, -0.023504, -0.0362, 0, 0),
    (
        (3.0,),
        (1.831036793486759, 0.4955183967433795),
        (2.304376582692669, -0.05249275245743001, -1.176798761832782),
        (-7.170454962423024, -4.741636671481785, -16.31002631330971, -1.062004044111401),
    ),
    (
        (-12.0,),
        (-8.791795173947035, -2.207865586973518),
        (10.81793056857153, 6.780270611428266, 19.5348594464241),
        (34.19095006749676, 15.49671153725963, 54.7476087596413, 14.16005392148534),
        (
            34.62605830930532,
            15.30084976114473,
            56.99955578662667,
            18.40807009793095,
            -5.714285714285717,
        ),
    ),
    (
        (25.09876703708589, 11.62013104361867, 28.49148307714626, -5.664021568594133, 0, 0),
        (1.638054557396973, -0.7373619806678748, 8.47791821923899, 15.9925314877952,
         -1.882352941176471, 0),
    ),
    "Steinebach 1995, Preprint 1741, TH Darmstadt",
)  # fmt: skip

METHODS = {method.name: method for method in (RODAS5P, RODAS5, RODAS4P, RODAS4)}


def method_named(name: str) -> Rosenbrock:
    """A method by name; UnknownName with the known ones."""
    if name not in METHODS:
        raise UnknownName.among("method", name, METHODS)
    return METHODS[name]
