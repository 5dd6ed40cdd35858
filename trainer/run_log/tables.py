"""The SQL that makes the run log's tables, version by version.

What the tables and columns mean is said in docs/run_log.md.
"""

_VERSION_1 = (
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        config TEXT NOT NULL CHECK (json_valid(config)),
        dataset TEXT NOT NULL,
        status TEXT NOT NULL,
        parent_run INTEGER REFERENCES runs (id) ON DELETE SET NULL,
        parent_epoch INTEGER,
        process_id INTEGER,
        process_start REAL,
        heartbeat REAL,
        created REAL NOT NULL,
        started REAL,
        ended REAL,
        step INTEGER NOT NULL DEFAULT 0,
        total_steps INTEGER,
        epoch INTEGER NOT NULL DEFAULT 0,
        total_epochs INTEGER,
        phase TEXT NOT NULL DEFAULT '',
        error TEXT,
        rewinds INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    """CREATE TABLE categories (
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        class_index INTEGER NOT NULL,
        category_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        frequency TEXT NOT NULL,
        image_count INTEGER NOT NULL,
        instance_count INTEGER NOT NULL,
        PRIMARY KEY (run_id, class_index)
    ) STRICT, WITHOUT ROWID""",
    # AUTOINCREMENT: an id is never used again after rows were deleted, so that a reader's cursor
    # ("id > last seen") stays valid when a resumed run deletes what lies past its checkpoint.
    """CREATE TABLE scalars (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        value REAL
    ) STRICT""",
    "CREATE INDEX scalars_by_name ON scalars (run_id, name, id)",
    """CREATE TABLE class_vectors (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        field TEXT NOT NULL,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        dtype TEXT NOT NULL CHECK (dtype IN ('float32', 'int32')),
        data BLOB NOT NULL CHECK (length(data) % 4 = 0)
    ) STRICT""",
    "CREATE INDEX class_vectors_by_field ON class_vectors (run_id, field, id)",
    """CREATE TABLE adaptation_summaries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        eps REAL,
        eps_quantile REAL,
        num_groups INTEGER NOT NULL,
        noise_share REAL,
        largest_group INTEGER
    ) STRICT""",
    "CREATE INDEX adaptation_summaries_by_run ON adaptation_summaries (run_id, id)",
    """CREATE TABLE adaptations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        super_group INTEGER NOT NULL,
        members TEXT NOT NULL CHECK (json_valid(members)),
        noise_members TEXT NOT NULL CHECK (json_valid(noise_members)),
        with_data TEXT NOT NULL CHECK (json_valid(with_data)),
        clamped TEXT NOT NULL CHECK (json_valid(clamped)),
        loss_before REAL,
        loss_after REAL,
        factor REAL NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX adaptations_by_run ON adaptations (run_id, id)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        payload TEXT NOT NULL CHECK (json_valid(payload))
    ) STRICT""",
    "CREATE INDEX events_by_run ON events (run_id, id)",
    """CREATE TABLE commands (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        payload TEXT NOT NULL CHECK (json_valid(payload)),
        created REAL NOT NULL,
        answered REAL,
        applied_step INTEGER,
        refusal TEXT
    ) STRICT""",
    "CREATE INDEX commands_by_run ON commands (run_id, id)",
)

_VERSION_2 = (
    # What tells a process from a later one with the same id is now text that outlives a change of
    # the wall clock; a start time is no such thing.
    "ALTER TABLE runs DROP COLUMN process_start",
    "ALTER TABLE runs ADD COLUMN process_identity TEXT",
    "ALTER TABLE runs ADD COLUMN uid TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN parent_step INTEGER",
    "ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags))",
    "ALTER TABLE runs ADD COLUMN archived REAL",
    "ALTER TABLE runs ADD COLUMN deleted REAL",
    "ALTER TABLE runs ADD COLUMN copied REAL",
    "UPDATE runs SET uid = lower(hex(randomblob(16)))",
    "CREATE UNIQUE INDEX runs_by_uid ON runs (uid)",
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        started REAL NOT NULL,
        ended REAL,
        from_step INTEGER NOT NULL,
        to_step INTEGER,
        status TEXT,
        error TEXT
    ) STRICT""",
    "CREATE INDEX attempts_by_run ON attempts (run_id, id)",
    """CREATE TABLE checkpoints (
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        batch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (run_id, step)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE feature_probes (
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        object_index INTEGER NOT NULL,
        class_index INTEGER NOT NULL,
        split TEXT NOT NULL CHECK (split IN ('train', 'holdout')),
        image_id INTEGER NOT NULL,
        x1 REAL NOT NULL,
        y1 REAL NOT NULL,
        x2 REAL NOT NULL,
        y2 REAL NOT NULL,
        picture BLOB NOT NULL,
        PRIMARY KEY (run_id, object_index)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE feature_snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('real', 'virtual')),
        feature_dim INTEGER NOT NULL CHECK (feature_dim > 0),
        subjects BLOB NOT NULL CHECK (length(subjects) % 4 = 0),
        data BLOB NOT NULL CHECK (length(data) = length(subjects) / 4 * feature_dim * 2)
    ) STRICT""",
    "CREATE INDEX feature_snapshots_by_run ON feature_snapshots (run_id, id)",
    # With applied_step, the moment of a run at which the command took hold: after a crash it takes
    # hold there again.
    "ALTER TABLE commands ADD COLUMN applied_epoch INTEGER",
    "ALTER TABLE commands ADD COLUMN applied_phase TEXT",
)

_VERSION_3 = (
    # The picture comes last, so that the rest is read without it.
    """CREATE TABLE prediction_images (
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        image_index INTEGER NOT NULL,
        image_id INTEGER NOT NULL,
        width INTEGER NOT NULL CHECK (width > 0),
        height INTEGER NOT NULL CHECK (height > 0),
        truth TEXT NOT NULL CHECK (json_valid(truth)),
        judged TEXT CHECK (judged IS NULL OR json_valid(judged)),
        picture BLOB NOT NULL,
        PRIMARY KEY (run_id, image_index)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE predictions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        image_index INTEGER NOT NULL,
        detections TEXT NOT NULL CHECK (json_valid(detections))
    ) STRICT""",
    "CREATE INDEX predictions_by_step ON predictions (run_id, step, epoch, image_index)",
)

_VERSION_4 = (
    # One row now holds all that a moment's features are, real and virtual; snapshots of before
    # lack most of it, and nothing but a picture rests on them.
    "DROP TABLE feature_snapshots",
    """CREATE TABLE feature_snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        step INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        wall_time REAL NOT NULL,
        feature_dim INTEGER NOT NULL CHECK (feature_dim > 0),
        objects BLOB NOT NULL CHECK (length(objects) % 4 = 0),
        real BLOB NOT NULL CHECK (length(real) = length(objects) / 4 * feature_dim * 2),
        real_predicted BLOB NOT NULL CHECK (length(real_predicted) = length(objects)),
        real_loss BLOB NOT NULL CHECK (length(real_loss) = length(objects)),
        classes BLOB NOT NULL CHECK (length(classes) % 4 = 0),
        mean BLOB NOT NULL CHECK (length(mean) = length(classes) / 4 * feature_dim * 2),
        deviation BLOB NOT NULL CHECK (length(deviation) = length(mean)),
        prior_size BLOB NOT NULL CHECK (length(prior_size) = length(classes)),
        virtual_per_class INTEGER NOT NULL CHECK (virtual_per_class >= 0),
        virtual BLOB NOT NULL CHECK (length(virtual) = length(mean) * virtual_per_class),
        virtual_predicted BLOB NOT NULL
            CHECK (length(virtual_predicted) = length(classes) * virtual_per_class),
        virtual_loss BLOB NOT NULL CHECK (length(virtual_loss) = length(virtual_predicted))
    ) STRICT""",
    "CREATE INDEX feature_snapshots_by_run ON feature_snapshots (run_id, id)",
    """CREATE TABLE projections (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        snapshot_id INTEGER NOT NULL REFERENCES feature_snapshots (id) ON DELETE CASCADE,
        method TEXT NOT NULL CHECK (method IN ('pca', 'umap', 'umap_real')),
        state TEXT NOT NULL CHECK (state IN ('running', 'ready', 'failed')),
        started REAL NOT NULL,
        seconds REAL,
        error TEXT,
        parameters TEXT NOT NULL CHECK (json_valid(parameters)),
        real BLOB NOT NULL CHECK (length(real) % 8 = 0),
        virtual BLOB NOT NULL CHECK (length(virtual) % 8 = 0),
        ellipses BLOB NOT NULL CHECK (length(ellipses) % 20 = 0),
        UNIQUE (snapshot_id, method)
    ) STRICT""",
    "CREATE INDEX projections_by_run ON projections (run_id, id)",
    """CREATE TABLE feature_measures (
        snapshot_id INTEGER NOT NULL REFERENCES feature_snapshots (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        per_class BLOB NOT NULL CHECK (length(per_class) % 4 = 0),
        groups TEXT NOT NULL CHECK (json_valid(groups)),
        PRIMARY KEY (snapshot_id, name)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX feature_measures_by_run ON feature_measures (run_id, snapshot_id)",
)

# Version n is what the first n entries make. Append; never edit an entry that was released.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
