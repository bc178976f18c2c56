"""What users get: WireGuard files, QR codes and bundles."""
