// SPDX-License-Identifier: MIT

import Platform

/// What stands beside the events.
extension TraceText {
    /// Reads the value of a member of the document.
    mutating func headerMember(_ word: TraceWord?) throws(TraceStop) {
        switch word {
        case .traceName where next == UInt8(ascii: "\""): header.traceName = try textValue()
        case .deviceProperties where next == UInt8(ascii: "["):
            var devices: [String] = []
            var multiprocessors: Int?
            try elements { text throws(TraceStop) in
                guard text.next == UInt8(ascii: "{") else { return try text.skip() }
                try text.members { text, key throws(TraceStop) in
                    switch text.word(key) {
                    case .name: devices.append(try text.textValue())
                    case .multiprocessors:
                        let count = try text.number().flatMap { Int(exactly: $0) }
                        multiprocessors = multiprocessors ?? count
                    default: try text.skip()
                    }
                }
            }
            (header.devices, header.multiprocessors) = (devices, multiprocessors)
        case .distributedInfo where next == UInt8(ascii: "{"):
            var (rank, worldSize): (Int?, Int?)
            try members { text, key throws(TraceStop) in
                switch text.word(key) {
                case .rank: rank = try text.number().flatMap { Int(exactly: $0) }
                case .worldSize: worldSize = try text.number().flatMap { Int(exactly: $0) }
                default: try text.skip()
                }
            }
            (header.rank, header.worldSize) = (rank, worldSize)
        default: try skip()
        }
    }

    private mutating func textValue() throws(TraceStop) -> String {
        let id = try name()
        return names[id]
    }
}
