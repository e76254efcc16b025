// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport

/// The training trace of DeepSeek's profile-data, which has no licence and is no part of the tree.
enum TrainTrace {
    static let path = FilePaths.join(FilePaths.parent(of: TestPaths.repository), "shared/profile-data/train.json.gz")

    /// Whether it is there; says so loudly if not.
    static let isThere: Bool = {
        let found = FilePaths.exists(path)
        if !found { print("SKIPPED: tests on the training trace, because \(path) is not there") }
        return found
    }()
}

extension Trace {
    /// The trace of a text.
    init(json text: String) throws {
        self = try withTemporaryFolder { folder in
            let path = FilePaths.join(folder, "trace.json")
            try AtomicFileWriter.write(text, path: path)
            return try Trace(path: path)
        }
    }
}
