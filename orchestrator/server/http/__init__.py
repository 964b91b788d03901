"""HTTP handlers, one file for each subject, with their schemas and the OpenAPI document."""
