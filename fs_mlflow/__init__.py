"""Feature lineage in MLflow: logged training sets, and models that look their features up themselves."""
