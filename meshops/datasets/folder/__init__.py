"""Any folder of finished simulations as a dataset: finding cases, tables, snapshots, series, and what each means."""
