"""The harness's side of methods: discovery, options, adaptation, contract checks."""
