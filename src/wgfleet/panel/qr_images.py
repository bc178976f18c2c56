"""QR codes of users' files as images that a page has within itself."""

from wgfleet.qr_code import SCALE, NoQrCodeError, qr_code


def data_uri(text: str) -> str | None:
    """Return the code of a file as an address of its own; None: there is none."""
    try:
        return str(qr_code(text).png_data_uri(scale=SCALE))
    except NoQrCodeError:
        return None
