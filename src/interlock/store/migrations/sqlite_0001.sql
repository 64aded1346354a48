-- Records: named bytes. A version is the number of the change that made it, counted over the whole store, so that it
-- never comes back, also not for a key that was deleted and made again.
CREATE TABLE records (
  key TEXT NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  value BLOB NOT NULL
);

-- One row: the number of the last change.
CREATE TABLE changes (
  only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
  number INTEGER NOT NULL
);

INSERT INTO changes (only_row, number) VALUES (1, 0);

-- Blobs: packed bytes (see packing.py) in parts, so that a large one never holds the write lock for long.
CREATE TABLE blobs (
  digest TEXT NOT NULL PRIMARY KEY,
  upload INTEGER NOT NULL UNIQUE,
  plain_bytes INTEGER NOT NULL,
  base TEXT
);

CREATE INDEX blobs_by_base ON blobs (base) WHERE base IS NOT NULL;

-- Uploads under way; those that nobody finished are swept away later.
CREATE TABLE uploads (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_s REAL NOT NULL
);

CREATE TABLE parts (
  upload INTEGER NOT NULL,
  number INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (upload, number)
);
