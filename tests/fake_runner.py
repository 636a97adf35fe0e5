"""A runner made from a function."""

from facemend.errors import BackendError
from facemend.runtime.runner import check_names


class FakeRunner:
    """`fn` takes the inputs and returns the outputs; `inputs` and `outputs` are their names."""

    def __init__(self, fn, inputs, outputs):
        self._fn = fn
        self.input_names = tuple(inputs)
        self.output_names = tuple(outputs)

    def run(self, inputs):
        """Call the function. See `Runner.run`."""
        check_names("fake graph", list(inputs), self.input_names)
        outputs = self._fn(inputs)
        if set(outputs) != set(self.output_names):
            raise BackendError(f"fake graph: outputs are {sorted(self.output_names)}, got {sorted(outputs)}")
        return outputs
