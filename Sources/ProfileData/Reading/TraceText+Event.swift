// SPDX-License-Identifier: MIT

import Platform

/// One event.
extension TraceText {
    /// Reads the event that starts at the next byte into `event`.
    mutating func event(_ event: inout TraceEvent) throws(TraceStop) {
        event = TraceEvent()
        try members { text, key throws(TraceStop) in
            switch text.word(key) {
            case .name: event.name = try text.name()
            case .category: event.category = try text.name()
            case .phase: event.phase = try text.phase()
            case .start: event.start = try text.number(places: 3)
            case .duration: event.duration = try text.number(places: 3)
            case .process: event.process = try text.label()
            case .thread: event.thread = try text.label()
            case .identifier: event.identifier = try text.label()
            case .arguments: try text.arguments(&event.arguments)
            default: try text.skip()
            }
        }
    }

    private mutating func phase() throws(TraceStop) -> TraceEvent.Phase {
        let range = try plainText()
        guard range.count == 1 else {
            throw .failed(failure("a phase of \(range.count) letters before this byte", legal: "one letter"))
        }
        return TraceEvent.Phase(rawValue: window[range.lowerBound])
    }

    private mutating func label() throws(TraceStop) -> TraceLabel {
        if next != UInt8(ascii: "\""), let number = try number() { return .number(number) }
        // `number` has read a word that is none.
        guard next == UInt8(ascii: "\"") else { return .name(TraceWord.empty.id) }
        return .name(try name())
    }

    private mutating func arguments(_ arguments: inout TraceArguments) throws(TraceStop) {
        guard next == UInt8(ascii: "{") else { return try skip() }
        try members { text, key throws(TraceStop) in
            switch text.word(key) {
            case .correlation: arguments.correlation = try text.number()
            case .stream: arguments.stream = try text.number()
            case .device: arguments.device = try text.number()
            case .grid: arguments.grid = try text.triple()
            case .block: arguments.block = try text.triple()
            case .registers: arguments.registersPerThread = try text.number()
            case .sharedMemory: arguments.sharedMemoryBytes = try text.number()
            case .bytes: arguments.bytes = try text.number()
            case .sortIndex: arguments.sortIndex = try text.number()
            case .name, .labels: arguments.label = try text.name()
            default: try text.skip(depth: 1)
            }
        }
    }

    /// Three numbers in brackets; nil for anything else.
    private mutating func triple() throws(TraceStop) -> SIMD4<Int32>? {
        guard next == UInt8(ascii: "[") else {
            try skip()
            return nil
        }
        var result = SIMD4<Int32>(1, 1, 1, 0)
        var count = 0
        var isWhole = true
        try elements { text throws(TraceStop) in
            let value = try text.number().flatMap { Int32(exactly: $0) }
            if count < 3, let value { result[count] = value } else { isWhole = false }
            count += 1
        }
        return isWhole && count == 3 ? result : nil
    }
}
