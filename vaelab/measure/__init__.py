"""What is measured on many datapoints: local fits, log p(x), gaps, and the rows made of them."""
