"""What each RPC does, a module for each subject; `service.py` gathers them."""
