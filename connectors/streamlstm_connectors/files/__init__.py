"""CSV and Parquet files.

`csv` and `parquet` have the connectors. They share `table_source`, which turns rows into ticks;
`live_file`, which reads a file as a live source; and `appended_file`, to which sinks append.
"""
