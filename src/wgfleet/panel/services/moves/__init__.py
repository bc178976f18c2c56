"""Operations that move peers between nodes: their start, their steps and their end."""
