"""Operations that move peers: removal, failover, drain, rebalance and address move."""
