// SPDX-License-Identifier: MIT

public import Platform

/// Requests of a service in Mooncake's format: JSON lines with `timestamp` (milliseconds), `input_length`,
/// `output_length` (tokens) and `hash_ids`, one for each block of 512 prompt tokens and all before it.
public struct RequestTrace: Sendable {
    /// One line.
    public struct Request: Sendable, Equatable {
        /// Milliseconds since the trace's beginning.
        public var milliseconds: Int
        public var inputTokens: Int
        public var outputTokens: Int
        /// Blocks of the prompt: two requests that begin alike share their first ids.
        public var blocks: [Int]
    }

    /// In order of time.
    public let requests: [Request]
    /// Tokens of a block.
    public let blockTokens: Int

    /// Requests at most.
    public static let maximumRequests = 10_000_000
    /// Tokens of a prompt or an answer at most.
    public static let maximumTokens = 1 << 24
    /// Tokens of a block in the published traces.
    public static let mooncakeBlockTokens = 512

    /// Parses a whole file.
    ///
    /// - Parameter source: the file's name, for messages.
    /// - Throws: `badData` that names file, line and field.
    public init(
        jsonLines bytes: [UInt8], source: String, blockTokens: Int = mooncakeBlockTokens
    ) throws(FathomError) {
        var requests: [Request] = []
        var number = 0
        for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
            let request = try Self.request(Array(line), place: "\(source), line \(number)", blockTokens)
            if let last = requests.last, request.milliseconds < last.milliseconds {
                throw FathomError(
                    .badData,
                    "\(source), line \(number): timestamp is \(request.milliseconds) ms; legal is "
                        + "\(last.milliseconds) ms, that of the line before, or later")
            }
            guard requests.count < Self.maximumRequests else {
                throw FathomError(
                    .badData, "\(source): more than \(Self.maximumRequests) requests, the most that are read")
            }
            requests.append(request)
        }
        guard !requests.isEmpty else { throw FathomError(.badData, "\(source) has no requests") }
        self.requests = requests
        self.blockTokens = blockTokens
    }

    private static func request(
        _ line: [UInt8], place: String, _ blockTokens: Int
    ) throws(FathomError) -> Request {
        var scanner = try JSONScanner(line, source: place)
        var numbers: [String: Int] = [:]
        var blocks: [Int]?
        try scanner.object { scanner, key throws(FathomError) in
            switch key {
            case "timestamp", "input_length", "output_length":
                let legal = key == "timestamp" ? 0...Int(1e12) : (key == "input_length" ? 1 : 0)...maximumTokens
                let value = try scanner.number()
                guard value >= Double(legal.lowerBound), value <= Double(legal.upperBound) else {
                    let unit = key == "timestamp" ? "milliseconds" : "tokens"
                    throw scanner.failure("\(value)", legal: "\(legal.lowerBound) to \(legal.upperBound) \(unit)")
                }
                guard numbers.updateValue(Int(value), forKey: key) == nil else {
                    throw scanner.failure("the field twice", legal: "each field once")
                }
            case "hash_ids":
                var found: [Int] = []
                try scanner.array { scanner, _ throws(FathomError) in found.append(try scanner.integer()) }
                blocks = found
            default: try scanner.skip()
            }
        }
        try scanner.end()
        for field in ["timestamp", "input_length", "output_length"] where numbers[field] == nil {
            throw FathomError(.badData, "\(place): \(field) is missing")
        }
        let input = numbers["input_length"] ?? 0
        let most = (input + blockTokens - 1) / blockTokens
        let ids = blocks ?? []
        guard ids.count <= most else {
            throw FathomError(
                .badData, "\(place): hash_ids has \(ids.count) blocks; \(input) tokens have \(most) of \(blockTokens)")
        }
        return Request(
            milliseconds: numbers["timestamp"] ?? 0, inputTokens: input, outputTokens: numbers["output_length"] ?? 0,
            blocks: ids)
    }

    /// Prompt tokens of all requests.
    public var inputTokens: Int { requests.reduce(0) { $0 + $1.inputTokens } }
    /// Output tokens of all requests.
    public var outputTokens: Int { requests.reduce(0) { $0 + $1.outputTokens } }
    /// Seconds from the beginning to the last arrival.
    public var seconds: Double { Double(requests.last?.milliseconds ?? 0) / 1000 }
}
