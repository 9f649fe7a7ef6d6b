"""A model from code: it returns a frame of two columns."""

import mlflow
import pandas as pd


class Several(mlflow.pyfunc.PythonModel):
    """Returns the basket and its double."""

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return a frame."""
        return pd.DataFrame({"low": model_input["basket"], "high": model_input["basket"] * 2})


mlflow.models.set_model(Several())
