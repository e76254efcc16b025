// SPDX-License-Identifier: MIT

import EPLB
import Platform
import TestSupport
import Testing

/// A plan of the original.
struct GoldenPlan: Sendable {
    var name = ""
    var weight: [[Float]] = []
    var shape = PlacementShape(replicaCount: 0, rankCount: 0)
    var physicalToLogical: [[Int]] = []
    var logicalToPhysical: [[[Int]]] = []
    var counts: [[Int]] = []

    /// Every plan of the golden file.
    static let all: [GoldenPlan] = {
        guard TestPaths.hasGoldens else { return [] }
        let path = TestPaths.goldens + "/eplb/cases.jsonl"
        guard let file = try? MappedFile.read(path: path) else { return [] }
        return file.split(separator: UInt8(ascii: "\n")).map { line in
            (try? JSONValue(parsing: Array(line), sourcePath: path)).map(GoldenPlan.init) ?? GoldenPlan()
        }
    }()

    init() {}

    init(_ value: JSONValue) {
        guard case .object(let members) = value else { return }
        if case .string(let text)? = members["name"] { name = text }
        weight = Self.rows(members["weight"]).map { $0.map { Float($0) } }
        shape = PlacementShape(
            replicaCount: Self.integer(members["replicas"]), groupCount: Self.integer(members["groups"]),
            nodeCount: Self.integer(members["nodes"]), rankCount: Self.integer(members["gpus"]))
        physicalToLogical = Self.rows(members["phy2log"])
        counts = Self.rows(members["logcnt"])
        if case .array(let layers)? = members["log2phy"] { logicalToPhysical = layers.map { Self.rows($0) } }
    }

    private static func integer(_ value: JSONValue?) -> Int {
        if case .integer(let number)? = value { number } else { -1 }
    }

    private static func rows(_ value: JSONValue?) -> [[Int]] {
        guard case .array(let rows)? = value else { return [] }
        return rows.map { row in
            guard case .array(let numbers) = row else { return [] }
            return numbers.map { integer($0) }
        }
    }
}

extension GoldenPlan: CustomTestStringConvertible {
    var testDescription: String { name }
}
