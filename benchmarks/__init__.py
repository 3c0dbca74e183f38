"""Speed as ratios measured side by side: this server against nginx, and against no proxy."""
