"""Speed, shown by ratios taken side by side: this server beside nginx, and beside no proxy."""
