"""Seconds until a model scores 88 nats on MNIST, by the rules of RECORDS.md: `make speedrun`."""
