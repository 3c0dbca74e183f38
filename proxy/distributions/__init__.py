"""Distribution files themselves: what their names say and what their archives hold."""
