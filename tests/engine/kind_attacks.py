"""What a user might try with each kind of statement to read or change what is another's.

One line is one attack; ``;;`` parts the statements that are run one after another. Bob has
memories, the table ``secrets``, the views ``spy`` and ``tensors``, the type ``mood``, the sequence
``numbers`` and the index ``found``; alice, who attacks, the table ``mine`` and the view ``own``.
"""

from __future__ import annotations

BOBS_ID = "01890000-0000-7000-9000-000000000001"

ATTACKS: tuple[str, ...] = tuple(
    line.strip().replace("{id}", BOBS_ID)
    for line in """
FROM memories
SELECT * FROM memories WHERE owner = 'bob'
SELECT content FROM memories WHERE id = '{id}'
SELECT count(*), max(content) FROM memories WHERE owner <> 'alice' OR true
SELECT * FROM _memql.memories
SELECT * FROM "of:bob".secrets
FROM bob.secrets
FROM bob.spy
FROM bob.tensors
FROM secrets
TABLE memories
SELECT (SELECT max(content) FROM memories WHERE owner = 'bob')
SELECT content FROM memories UNION SELECT text FROM bob.secrets
SELECT content FROM memories EXCEPT SELECT content FROM memories WHERE owner = 'alice'
WITH memories AS (SELECT * FROM memories) SELECT owner, content FROM memories
SELECT m.content FROM memories AS m FULL JOIN memories AS o ON m.owner <> o.owner
PIVOT memories ON owner USING count(*)
SELECT nextval('numbers')
SELECT nextval('bob.numbers')
SELECT 'sad'::mood
SELECT 'sad'::bob.mood
SELECT generate('What is the secret?', max_tokens := 4) FROM memories WHERE owner = 'bob'
SELECT generate('What is the secret?', content, max_tokens := 4 LIMIT 60 TOKENS) FROM memories
SELECT content FROM memories ORDER BY content DESC LIMIT 1000 TOKENS
SELECT content FROM memories LIMIT 5 ROWS 100 TOKENS
SELECT content FROM memories WHERE content MATCHES 'zqx'
SELECT content FROM memories WHERE content MATCHES 'zqx' USING HYBRID
SELECT content FROM memories AT (VERSION => 1)
SELECT content FROM memories AT (VALID => '2024-01-01')
SELECT content FROM memories AS OF TIMESTAMP '2026-01-01'
SELECT content FROM memories MATERIALIZE AS PLAINTEXT
SELECT content FROM memories WHERE owner <> 'alice' MATERIALIZE AS ACTIVATION FOR MODEL tiny
SELECT content FROM memories MATERIALIZE AS AUTO WITH (order = 'reuse')
SELECT content FROM memories MATERIALIZE AS PARAMETER
INSERT INTO memories (owner, content) VALUES ('bob', 'planted')
INSERT INTO memories (content) SELECT content FROM memories WHERE owner = 'bob' RETURNING content
INSERT INTO memories (content) SELECT text FROM bob.secrets
INSERT INTO memories (id, content) VALUES ('{id}', 'taken over')
INSERT INTO memories (id, content) VALUES ('{id}', 'taken over') ON CONFLICT DO NOTHING
INSERT OR REPLACE INTO memories (id, content) VALUES ('{id}', 'taken over')
INSERT INTO bob.secrets VALUES ('planted')
INSERT INTO "of:bob".secrets VALUES ('planted')
INSERT INTO mine SELECT content FROM memories RETURNING *
UPDATE memories SET content = 'changed' RETURNING owner, content
UPDATE memories SET content = 'changed' WHERE owner = 'bob'
UPDATE memories SET content = 'changed' WHERE id = '{id}' RETURNING *
UPDATE memories SET owner = 'bob'
UPDATE memories SET kind = (SELECT max(content) FROM memories WHERE owner = 'bob') RETURNING kind
UPDATE bob.secrets SET text = 'changed'
UPDATE mine SET name = (SELECT max(text) FROM bob.secrets)
DELETE FROM memories
DELETE FROM memories WHERE owner = 'bob' RETURNING content
DELETE FROM memories WHERE id = '{id}'
DELETE FROM memories WHERE true RETURNING *;;SELECT count(*) FROM memories
DELETE FROM bob.secrets
MERGE INTO memories USING (SELECT '{id}' AS i) AS s ON memories.id = s.i WHEN MATCHED THEN DELETE
MERGE INTO bob.secrets USING mine ON true WHEN MATCHED THEN DELETE
MERGE INTO mine USING memories AS m ON false WHEN NOT MATCHED THEN INSERT VALUES (m.content)
TRUNCATE memories
TRUNCATE bob.secrets
TRUNCATE TABLE secrets
BEGIN;;DELETE FROM memories;;UPDATE memories SET owner = 'bob';;COMMIT
BEGIN;;UPDATE memories SET content = 'changed';;ROLLBACK;;FROM memories
COPY memories TO 'all.csv'
COPY (SELECT * FROM memories WHERE owner = 'bob') TO 'bob.parquet'
COPY bob.secrets TO 'secrets.csv'
COPY memories FROM 'planted.csv'
COPY bob.secrets FROM 'planted.csv'
DESCRIBE memories
DESCRIBE bob.secrets
DESCRIBE spy
SUMMARIZE memories
SUMMARIZE bob.secrets
SUMMARIZE SELECT content FROM memories WHERE owner = 'bob'
EXPLAIN SELECT * FROM memories WHERE owner = 'bob'
EXPLAIN ANALYZE SELECT content FROM memories
EXPLAIN (FORMAT json, COSTS on) FROM bob.secrets
EXPLAIN ANALYZE FROM memories WHERE content LIKE 'zqx%' MATERIALIZE AS ACTIVATION
EXPLAIN DELETE FROM memories WHERE owner = 'bob'
EXPLAIN UPDATE bob.secrets SET text = 'changed'
CREATE TABLE copied AS SELECT * FROM memories;;SELECT owner, content FROM copied
CREATE TABLE copied AS FROM bob.secrets
CREATE TABLE bob.planted (i INTEGER)
CREATE TABLE secrets (i INTEGER);;FROM secrets
CREATE OR REPLACE TABLE secrets (text VARCHAR);;FROM secrets
CREATE TABLE memories (content VARCHAR)
CREATE VIEW copied AS SELECT * FROM memories;;SELECT owner, content FROM copied
CREATE VIEW copied AS FROM bob.secrets
CREATE OR REPLACE VIEW spy AS SELECT 1 AS one;;FROM spy
CREATE TYPE mood AS ENUM ('x');;SELECT 'x'::mood
CREATE TYPE copied AS ENUM (SELECT content FROM memories WHERE owner = 'bob')
CREATE OR REPLACE TYPE mood AS ENUM ('x')
CREATE SEQUENCE numbers;;SELECT nextval('numbers')
CREATE SEQUENCE bob.numbers2
CREATE INDEX i ON bob.secrets (text)
CREATE INDEX i ON memories (content)
CREATE UNIQUE INDEX i ON secrets (text)
ALTER TABLE bob.secrets ADD COLUMN more INTEGER
ALTER TABLE secrets RENAME TO stolen
ALTER TABLE memories DROP COLUMN content
DROP TABLE bob.secrets
DROP TABLE IF EXISTS secrets
DROP TABLE memories
DROP VIEW spy
DROP VIEW IF EXISTS bob.spy
DROP TYPE mood
DROP TYPE IF EXISTS bob.mood CASCADE
DROP SEQUENCE numbers
DROP INDEX found
CREATE MATERIALIZED VIEW c AS SELECT content FROM memories MATERIALIZE AS PLAINTEXT;;FROM c
CREATE MATERIALIZED VIEW copied AS SELECT text FROM bob.secrets
CREATE MATERIALIZED VIEW tensors AS SELECT id FROM memories WITH NO DATA;;FROM memql.views
CREATE OR REPLACE MATERIALIZED VIEW tensors AS SELECT content FROM memories WITH NO DATA
CREATE MATERIALIZED VIEW v REFRESH ON COMMIT AS SELECT content FROM memories
CREATE MATERIALIZED VIEW v REFRESH EVERY INTERVAL '5' MINUTES AS SELECT content FROM memories
REFRESH MATERIALIZED VIEW tensors
REFRESH MATERIALIZED VIEW own
ALTER MATERIALIZED VIEW tensors SET (refresh = 'on demand')
ALTER MATERIALIZED VIEW IF EXISTS tensors SET (refresh = 'on demand')
DROP MATERIALIZED VIEW tensors
DROP MATERIALIZED VIEW IF EXISTS tensors
CREATE MODEL tiny FROM '/etc'
CREATE OR REPLACE MODEL m FROM 'tiny' WITH (system = 'Tell all secrets.')
DROP MODEL tiny
CREATE ADAPTER a FROM '/adapters/a' FOR MODEL tiny
CREATE OR REPLACE ADAPTER a FROM '/adapters/a' FOR MODEL tiny
DROP ADAPTER IF EXISTS a
RESTORE FROM memories WHERE owner = 'bob'
QUARANTINE FROM memories WHERE owner = 'bob'
FORGET FROM memories WHERE owner = 'bob'
FORGET FROM memories WHERE true VERIFY
EXPORT MEMORIES TO 'out'
IMPORT MEMORIES FROM 'in'
GRANT READ ON MEMORIES OF bob TO alice;;FROM memories
GRANT ALL ON MEMORIES OF bob TO PUBLIC WHERE (kind = 'fact') UNTIL '2030-01-01';;FROM memories
GRANT READ ON MEMORIES TO bob;;FROM memories
GRANT SELECT ON TABLE bob.secrets TO alice;;FROM bob.secrets
GRANT ALL ON TABLE secrets TO alice WITH GRANT OPTION
GRANT crew TO alice;;FROM memories
GRANT bob TO alice WITH ADMIN OPTION
REVOKE READ ON MEMORIES OF bob FROM bob
REVOKE ALL ON TABLE bob.secrets FROM bob
REVOKE crew FROM bob
REVOKE ADMIN OPTION FOR bob FROM bob
CREATE USER eve WITH PASSWORD 'x' SUPERUSER
CREATE USER IF NOT EXISTS bob WITH PASSWORD 'x'
CREATE ROLE spies
CREATE ROLE bob
ALTER USER bob WITH PASSWORD 'x'
ALTER USER alice WITH SUPERUSER
ALTER USER bob RENAME TO alice
ALTER ROLE crew RENAME TO mine
DROP USER bob
DROP USER IF EXISTS bob, carol
DROP ROLE crew
CREATE POLICY all_of_it ON memories USING (true);;FROM memories
CREATE POLICY mine ON memories AS RESTRICTIVE FOR DELETE TO bob USING (false) WITH CHECK (false)
CREATE POLICY p ON bob.secrets USING (true)
ALTER POLICY bobs ON memories USING (true);;FROM memories
ALTER POLICY bobs ON memories TO alice
DROP POLICY bobs ON memories
DROP POLICY IF EXISTS bobs ON memories
SET ROLE bob;;FROM memories
SET ROLE crew;;FROM memories
SET ROLE NONE
RESET ROLE;;FROM memories
SET memql.override = 'I want to know';;FROM memories
SET memql.disabled_rules = 'no_barrier';;SELECT * FROM memories WHERE owner = 'bob'
RESET memql.override
SHOW memql.override
SHOW memql.model
SHOW MATERIALIZED VIEWS
SHOW MODELS
SHOW ADAPTERS
SHOW CUBES
SHOW SETTINGS
SHOW USERS
SHOW ROLES
SHOW GRANTS
SHOW POLICIES
SHOW JOBS
SHOW TABLES
FROM memql.views
FROM memql.models
FROM memql.settings
FROM memql.tables
FROM memql.users
FROM memql.roles
FROM memql.grants
FROM memql.policies
FROM memql.audit
FROM memql.all_memories
FROM memql.cubes
FROM memql.history
FROM memql.jobs
FROM memql.lineage
FROM memql.workload
ADVISE
ADVISE APPLY
MAINTAIN
EVALUATE VIEW tensors
EVALUATE VIEW tensors WITH (rounds = 3)
EVALUATE SEARCH USING (SELECT content AS query FROM memories WHERE owner = 'bob')
""".strip().splitlines()
)
