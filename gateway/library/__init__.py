"""The catalogue: releases, their files, and which bytes of which articles make them up."""
