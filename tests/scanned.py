"""QR codes as a phone reads them: from the dots of an image, by a reader that knows nothing of who made it."""

from collections.abc import Sequence

import zxingcpp


def scanned(dots: Sequence[Sequence[int]]) -> str:
    """Return the text of the code in an image: rows of dots, 0 is black and 255 white."""
    height, width = len(dots), len(dots[0])
    found = zxingcpp.read_barcode(memoryview(bytes(dot for row in dots for dot in row)).cast("B", (height, width)))
    assert found is not None, "there is no code that can be read"
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return found.text
