"""Result backends that have no driver yet."""

from __future__ import annotations

from sedano.settings.option import Option, Type


def _row(name: str, kind: Type, default: object, sentence: str, driver: str, *, old: str = "", unit: str = "") -> Option:
    """A row whose old name, unless given, is its name in capitals and whose effect waits for `driver`."""
    return Option(
        name,
        kind,
        default,
        sentence,
        old_names=(old or name.upper(),),
        documented_names=DOCUMENTED.get(name, ()),
        unit=unit,
        form="any" if name in FREE else "",
        effect=f"not yet: comes with the {driver} result backend",
    )


SQL = "SQLAlchemy"
CACHE = "cache"
MONGODB = "MongoDB"
ELASTICSEARCH = "Elasticsearch"
CASSANDRA = "Cassandra"
S3 = "S3"
AZURE = "Azure blob"
GCS = "Google Cloud Storage"
COSMOS = "Cosmos DB"

DOCUMENTED = {
    "database_table_names": ("CELERY_RESULT_DB_TABLE_NAMES",),
    "cassandra_table": ("CASSANDRA_COLUMN_FAMILY",),
}
# Celery declares these as text and takes other things as well.
FREE = ("cassandra_port", "cassandra_auth_kwargs")

ROWS = (
    _row("database_url", "string", None, "The SQLAlchemy URL of the results.", SQL, old="CELERY_RESULT_DBURI"),
    _row(
        "database_engine_options",
        "dict",
        {"pool_pre_ping": True, "pool_recycle": 3600},
        "Arguments of SQLAlchemy's `create_engine`.",
        SQL,
        old="CELERY_RESULT_ENGINE_OPTIONS",
    ),
    _row("database_engine_callback", "any", None, "A function, or its path, that is given each new engine.", SQL),
    _row(
        "database_short_lived_sessions",
        "bool",
        False,
        "A session of its own for every operation.",
        SQL,
        old="CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    ),
    _row("database_table_schemas", "dict", None, "The schemas of the tables: `task`, `group`.", SQL),
    _row(
        "database_table_names",
        "dict",
        None,
        "The names of the tables: `task`, `group`.",
        SQL,
        old="CELERY_RESULT_DB_TABLENAMES",
    ),
    _row("database_create_tables_at_setup", "bool", True, "Create the tables at once instead of at the first use.", SQL),
    _row("cache_backend", "string", None, "The cache that keeps results.", CACHE, old="CELERY_CACHE_BACKEND"),
    _row("cache_backend_options", "dict", {}, "Options of its client.", CACHE, old="CELERY_CACHE_BACKEND_OPTIONS"),
    _row(
        "mongodb_backend_settings",
        "dict",
        None,
        "Database, collections and options of MongoDB.",
        MONGODB,
        old="CELERY_MONGODB_BACKEND_SETTINGS",
    ),
    _row(
        "elasticsearch_retry_on_timeout",
        "bool",
        None,
        "Ask another node when one takes too long.",
        ELASTICSEARCH,
        old="CELERY_ELASTICSEARCH_RETRY_ON_TIMEOUT",
    ),
    _row(
        "elasticsearch_max_retries",
        "int",
        None,
        "How often a request is repeated.",
        ELASTICSEARCH,
        old="CELERY_ELASTICSEARCH_MAX_RETRIES",
    ),
    _row(
        "elasticsearch_timeout",
        "float",
        None,
        "How long an answer may take.",
        ELASTICSEARCH,
        old="CELERY_ELASTICSEARCH_TIMEOUT",
        unit="s",
    ),
    _row(
        "elasticsearch_save_meta_as_text",
        "bool",
        True,
        "Store the record of a result as text instead of fields.",
        ELASTICSEARCH,
        old="CELERY_ELASTICSEARCH_SAVE_META_AS_TEXT",
    ),
    _row("cassandra_entry_ttl", "float", None, "How long a row is kept.", CASSANDRA, unit="s"),
    _row("cassandra_keyspace", "string", None, "The keyspace.", CASSANDRA),
    _row("cassandra_port", "string", None, "The port.", CASSANDRA),
    _row("cassandra_read_consistency", "string", None, "The consistency level of reads.", CASSANDRA),
    _row("cassandra_servers", "list", None, "The hosts.", CASSANDRA),
    _row("cassandra_bundle_path", "string", None, "The file with the way to an Astra database.", CASSANDRA),
    _row("cassandra_table", "string", None, "The table.", CASSANDRA),
    _row("cassandra_write_consistency", "string", None, "The consistency level of writes.", CASSANDRA),
    _row("cassandra_auth_provider", "string", None, "The class that signs in.", CASSANDRA),
    _row("cassandra_auth_kwargs", "string", None, "Arguments of that class.", CASSANDRA),
    _row("cassandra_options", "dict", {}, "Arguments of the cluster object.", CASSANDRA),
    _row("s3_access_key_id", "string", None, "The access key.", S3),
    _row("s3_secret_access_key", "string", None, "The secret that belongs to it.", S3),
    _row("s3_bucket", "string", None, "The bucket.", S3),
    _row("s3_base_path", "string", None, "What the keys of results begin with.", S3),
    _row("s3_endpoint_url", "string", None, "The service, where it is not Amazon's.", S3),
    _row("s3_region", "string", None, "The region.", S3),
    _row("azureblockblob_container_name", "string", "celery", "The container.", AZURE),
    _row("azureblockblob_retry_initial_backoff_sec", "int", 2, "The first pause before a retry.", AZURE, unit="s"),
    _row("azureblockblob_retry_increment_base", "int", 2, "How much longer each further pause is.", AZURE, unit="s"),
    _row("azureblockblob_retry_max_attempts", "int", 3, "How often an operation is tried.", AZURE),
    _row("azureblockblob_base_path", "string", "", "What the names of blobs begin with.", AZURE),
    _row("azureblockblob_connection_timeout", "int", 20, "How long connecting may take.", AZURE, unit="s"),
    _row("azureblockblob_read_timeout", "int", 120, "How long an answer may take.", AZURE, unit="s"),
    _row("gcs_bucket", "string", None, "The bucket.", GCS),
    _row("gcs_project", "string", None, "The project.", GCS),
    _row("gcs_base_path", "string", "", "What the names of objects begin with.", GCS),
    _row("gcs_ttl", "float", 0, "How long an object is kept; 0: for ever.", GCS, unit="s"),
    _row("cosmosdbsql_database_name", "string", "celerydb", "The database.", COSMOS),
    _row("cosmosdbsql_collection_name", "string", "celerycol", "The collection.", COSMOS),
    _row("cosmosdbsql_consistency_level", "string", "Session", "The consistency level.", COSMOS),
    _row("cosmosdbsql_max_retry_attempts", "int", 9, "How often a request is repeated.", COSMOS),
    _row("cosmosdbsql_max_retry_wait_time", "int", 30, "How long that may take in all.", COSMOS, unit="s"),
    _row(
        "couchbase_backend_settings",
        "dict",
        None,
        "Host, bucket and login.",
        "Couchbase",
        old="CELERY_COUCHBASE_BACKEND_SETTINGS",
    ),
    _row(
        "arangodb_backend_settings",
        "dict",
        None,
        "Host, database, collection and login.",
        "ArangoDB",
        old="CELERY_ARANGODB_BACKEND_SETTINGS",
    ),
)
