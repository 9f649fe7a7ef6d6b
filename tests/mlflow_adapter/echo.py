"""A model from code: it returns what it is given."""

import mlflow
import pandas as pd


class Echo(mlflow.pyfunc.PythonModel):
    """Returns its input."""

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return the frame."""
        return model_input


mlflow.models.set_model(Echo())
