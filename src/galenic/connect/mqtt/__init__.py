"""MQTT 5: Sparkplug B as host application and as edge node, and plain topics."""
