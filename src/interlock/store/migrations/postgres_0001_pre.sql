-- Records: named bytes. A version is drawn by chance, so no two of one key are equal and a write whose reply got lost
-- is recognised. Half of each page is left free: a record is rewritten in its page, without a new index entry.
CREATE TABLE IF NOT EXISTS {schema}.records (
  key text COLLATE "C" NOT NULL PRIMARY KEY,
  version bigint NOT NULL CHECK (version > 0),
  value bytea NOT NULL,
  sum bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);

-- Blobs: packed bytes (see packing.py) in parts. That no blob loses the one that it builds on, the database keeps.
CREATE TABLE IF NOT EXISTS {schema}.blobs (
  digest text COLLATE "C" NOT NULL PRIMARY KEY,
  upload bigint NOT NULL UNIQUE,
  plain_bytes bigint NOT NULL,
  base text COLLATE "C" REFERENCES {schema}.blobs (digest)
);

CREATE INDEX IF NOT EXISTS blobs_by_base ON {schema}.blobs (base) WHERE base IS NOT NULL;

-- Uploads under way; those that nobody finished are swept away later.
CREATE TABLE IF NOT EXISTS {schema}.uploads (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE SEQUENCE IF NOT EXISTS {schema}.small_uploads INCREMENT BY -1 MAXVALUE -1 START WITH -1;

CREATE TABLE IF NOT EXISTS {schema}.parts (
  upload bigint NOT NULL,
  number integer NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (upload, number)
);

-- Parts are compressed already.
ALTER TABLE {schema}.parts ALTER COLUMN data SET STORAGE EXTERNAL;
