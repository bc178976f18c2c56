"""Downloads for users: WireGuard files, QR codes and bundles."""
