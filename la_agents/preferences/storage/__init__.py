"""Where records lie on Chroma, how they are read and written, and how a store is looked after."""
