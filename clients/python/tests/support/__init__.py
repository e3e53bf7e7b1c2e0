"""What the tests need: real nodes, nodes that fail in chosen ways, both clients as one."""
