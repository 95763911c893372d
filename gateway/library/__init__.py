"""The catalogue: releases, files and the parts they are made of; published whole or not at all."""
