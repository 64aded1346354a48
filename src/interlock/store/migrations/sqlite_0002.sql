-- The checksum of a record (see checksums.py). Records from before have none until their next write.
ALTER TABLE records ADD COLUMN sum BLOB;

-- A process of an older release that still runs writes value and version, and knows of no checksum: then there is none.
CREATE TRIGGER records_written_without_sum AFTER UPDATE OF value ON records
WHEN NEW.version IS NOT OLD.version AND NEW.sum IS OLD.sum BEGIN
  UPDATE records SET sum = NULL WHERE key = NEW.key; END;
