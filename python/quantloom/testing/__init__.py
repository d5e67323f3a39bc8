"""Things for testing against quantloom: small searches, conformance checks of samplers."""
