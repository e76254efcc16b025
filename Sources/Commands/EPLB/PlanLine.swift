// SPDX-License-Identifier: MIT

import EPLB
import Platform

/// A line of input: loads, and what they are to be placed on.
struct PlanLine {
    /// The fields that a line may have; those of a finished plan are not read.
    static let legalFields = "name, weight, replicas, groups, nodes, gpus, previous"
    private static let ignored: Set<String> = [
        "phy2log", "log2phy", "logcnt", "policy", "quality", "previousQuality", "migration",
    ]

    /// The file and the line, for messages.
    var place: String
    var name: String?
    var loads: ExpertLoads
    var shape: PlacementShape
    /// The placement in force, from the field `previous`.
    var previous: ExpertPlacement?

    /// - Throws: `badData` that names file, line and field.
    init(_ bytes: [UInt8], source: String, number: Int) throws(FathomError) {
        place = "\(source), line \(number)"
        var scanner = try JSONScanner(bytes, source: place)
        var weight: [[Float]]?
        var name: String?
        var map: [[Int]]?
        var counts: [String: Int] = [:]
        var seen: Set<String> = []
        try scanner.object { scanner, key throws(FathomError) in
            guard seen.insert(key).inserted else { throw scanner.failure("the field twice", legal: "each field once") }
            switch key {
            case "name": name = try scanner.null() ? nil : try scanner.string()
            case "weight": weight = try Self.weights(&scanner)
            case "replicas", "groups", "nodes", "gpus": counts[key] = try scanner.integer()
            case "previous": map = try scanner.null() ? nil : try Self.map(&scanner)
            case _ where Self.ignored.contains(key): try scanner.skip()
            default: throw scanner.failure("an unknown field", legal: Self.legalFields)
            }
        }
        try scanner.end()
        self.name = name
        guard let weight else { throw Self.missing("weight", place) }
        guard let replicas = counts["replicas"] else { throw Self.missing("replicas", place) }
        guard let ranks = counts["gpus"] else { throw Self.missing("gpus", place) }
        shape = PlacementShape(
            replicaCount: replicas, groupCount: counts["groups"] ?? 1, nodeCount: counts["nodes"] ?? 1,
            rankCount: ranks)
        loads = try Self.inPlace(place) { () throws(FathomError) in try ExpertLoads(weight) }
        let (experts, shape) = (loads.expertCount, shape)
        try Self.inPlace(place) { () throws(FathomError) in try shape.validate(expertCount: experts) }
        guard let map else { return }
        previous = try Self.inPlace("\(place), previous") { () throws(FathomError) in
            try ExpertPlacement(expertCount: experts, shape: shape, physicalToLogical: map)
        }
    }

    private static func weights(_ scanner: inout JSONScanner) throws(FathomError) -> [[Float]] {
        var rows: [[Float]] = []
        try scanner.array { scanner, _ throws(FathomError) in
            var row: [Float] = []
            try scanner.array { scanner, _ throws(FathomError) in row.append(Float(try scanner.number())) }
            rows.append(row)
        }
        return rows
    }

    private static func map(_ scanner: inout JSONScanner) throws(FathomError) -> [[Int]] {
        var rows: [[Int]] = []
        try scanner.array { scanner, _ throws(FathomError) in
            var row: [Int] = []
            try scanner.array { scanner, _ throws(FathomError) in row.append(try scanner.integer()) }
            rows.append(row)
        }
        return rows
    }

    private static func missing(_ field: String, _ place: String) -> FathomError {
        FathomError(.badData, "\(place): \(field) is missing; a line has weight, replicas and gpus at least")
    }

    /// Runs `body`; its errors are about data, and say where it is.
    static func inPlace<Result>(
        _ place: String, _ body: () throws(FathomError) -> Result
    ) throws(FathomError) -> Result {
        do throws(FathomError) {
            return try body()
        } catch {
            throw FathomError(.badData, "\(place): \(error.message)", cause: error.cause)
        }
    }
}

/// Lines of JSON from a file or from standard input.
enum PlanInput {
    /// Calls `body` with each line that is not blank.
    ///
    /// - Parameter path: a file, or `-` for standard input.
    /// - Throws: `missingInput` or `io` where the input cannot be read; what `body` throws.
    static func lines(
        _ path: String, _ body: (_ line: PlanLine) throws(FathomError) -> Void
    ) throws(FathomError) {
        var number = 0
        func take(_ bytes: [UInt8], _ source: String) throws(FathomError) {
            number += 1
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return }
            try body(try PlanLine(bytes, source: source, number: number))
        }
        guard path == "-" else {
            for line in try MappedFile.read(path: path).split(
                separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            {
                try take(Array(line), path)
            }
            return
        }
        var reader = LineReader()
        while true {
            switch try reader.next() {
            case .end: return
            case .interrupted: throw FathomError(.cancelled, "interrupted")
            case .line(let bytes): try take(bytes, "standard input")
            }
        }
    }
}
