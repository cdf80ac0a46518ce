"""From a protocol to records: workspace, plan, jobs, training, scoring, replay."""
