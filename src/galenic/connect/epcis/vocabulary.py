"""The words of the Core Business Vocabulary, and how they are written out as web URIs.

In JSON a standard word stands alone ("in_transit"); in XML 1.2 as a URN
("urn:epcglobal:cbv:disp:in_transit"). Both mean "https://ref.gs1.org/cbv/Disp-in_transit". Words
from the EPCIS 2.0 JSON schema and CBV 2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from galenic.errors import UnknownName

CBV = "https://ref.gs1.org/cbv/"
GS1 = "https://gs1.org/voc/"
EPCIS = "https://ref.gs1.org/epcis/"

CURIES = {"gs1:": GS1, "cbv:": CBV, "epcis:": EPCIS}


@dataclass(frozen=True)
class Vocabulary:
    """One list of words: what they name, the beginning of their web URI and of their URN."""

    what: str
    web: str
    urn: str
    words: frozenset[str]

    def word(self, text: str, where: str = "") -> str:
        """The bare word of a standard value in any form; another URI as it is."""
        for start in (self.web, self.urn):
            if start and text.startswith(start) and text[len(start) :] in self.words:
                return text[len(start) :]
        if text in self.words or ":" in text:
            return text
        raise UnknownName.among(self.what, text, self.words, where=where)

    def expand(self, text: str) -> str:
        """The web URI of a word in any form."""
        if self.urn and text.startswith(self.urn):
            return self.web + text[len(self.urn) :]
        if ":" not in text:
            return self.web + text
        return expanded(text)


def expanded(text: str) -> str:
    """A compact URI written out."""
    for prefix, full in CURIES.items():
        if text.startswith(prefix):
            return full + text[len(prefix) :]
    return text


def _of(what: str, web: str, urn: str, words: str) -> Vocabulary:
    return Vocabulary(what, web, urn, frozenset(words.split()))


BIZ_STEP = _of(
    "business step", CBV + "BizStep-", "urn:epcglobal:cbv:bizstep:",
    "accepting arriving assembling collecting commissioning consigning creating_class_instance "
    "cycle_counting decommissioning departing destroying disassembling dispensing encoding "
    "entering_exiting holding inspecting installing killing loading other packing picking "
    "receiving removing repackaging repairing replacing reserving retail_selling sampling "
    "sensor_reporting shipping staging_outbound stock_taking stocking storing transporting "
    "unloading unpacking "
    "void_shipping",
)  # fmt: skip
DISPOSITION = _of(
    "disposition", CBV + "Disp-", "urn:epcglobal:cbv:disp:",
    "active available completeness_inferred completeness_verified conformant container_closed "
    "container_open damaged destroyed dispensed disposed encoded expired in_progress in_transit "
    "inactive mismatch_class mismatch_instance mismatch_quantity needs_replacement "
    "no_pedigree_match non_conformant non_sellable_other partially_dispensed recalled reserved "
    "retail_sold returned sellable_accessible sellable_not_accessible stolen unavailable unknown",
)  # fmt: skip
TRANSACTION = _of(
    "business transaction type", CBV + "BTT-", "urn:epcglobal:cbv:btt:",
    "bol cert desadv inv pedigree po poc prodorder recadv rma testprd testres upevt",
)  # fmt: skip
PARTY = _of(
    "source or destination type", CBV + "SDT-", "urn:epcglobal:cbv:sdt:",
    "location owning_party possessing_party",
)  # fmt: skip
REASON = _of(
    "reason of an error declaration", CBV + "ER-", "urn:epcglobal:cbv:er:",
    "did_not_occur incorrect_data",
)  # fmt: skip
COMPONENT = _of(
    "component", CBV + "Comp-", "",
    "altitude axial_distance azimuth easting elevation_angle height latitude longitude northing "
    "polar_angle spherical_radius x y z",
)  # fmt: skip
ALERT = _of("sensor alert", GS1, "", "ALARM_CONDITION ERROR_CONDITION")
MEASUREMENT = _of(
    "measurement type", GS1, "",
    "AbsoluteHumidity AbsorbedDose AbsorbedDoseRate Acceleration Activity Altitude "
    "AmountOfSubstance AmountOfSubstancePerUnitVolume Angle AngularAcceleration AngularMomentum "
    "AngularVelocity Area Capacitance Conductance Conductivity Count Density Dimensionless "
    "DoseEquivalent DoseEquivalentRate DynamicViscosity ElectricCharge ElectricCurrent "
    "ElectricCurrentDensity ElectricFieldStrength Energy Exposure Force Frequency Illuminance "
    "Inductance Irradiance KinematicViscosity Length LinearMomentum Luminance LuminousFlux "
    "LuminousIntensity MagneticFlux MagneticFluxDensity MagneticVectorPotential Mass "
    "MassConcentration MassFlowRate MassPerAreaTime MemoryCapacity MolalityOfSolute MolarEnergy "
    "MolarMass MolarVolume Power Pressure RadiantFlux RadiantIntensity Radioactivity "
    "RelativeHumidity Resistance Resistivity SolidAngle SpecificVolume "
    "Speed SurfaceDensity SurfaceTension Temperature Time "
    "Torque Voltage Volume VolumeFlowRate VolumeFraction VolumetricFlux Wavenumber",
)  # fmt: skip
