"""The best surrogate of few cases, chosen honestly: candidates, cross-validation, a blend, an outer test."""
