"""How a model is guided best, principle by principle: written by `la-agents calibrate`, read by the faces.

The JSON files beside this one are the calibrations of the models that this project measured.
"""

from la_agents.calibration.calibration import DEFAULT, Calibration, Guidance, shipped_calibration

__all__ = ["DEFAULT", "Calibration", "Guidance", "shipped_calibration"]
