"""Trained networks for other programs: files of weights, and programs that run without this package."""

from dyc.export.formats import FORMATS, Format, Request, check_format, register_format
from dyc.export.onnx_format import ExportReport, Int8Report, export_onnx, quantize_onnx

__all__ = [
    "FORMATS",
    "ExportReport",
    "Format",
    "Int8Report",
    "Request",
    "check_format",
    "export_onnx",
    "quantize_onnx",
    "register_format",
]
