// SPDX-License-Identifier: MIT

internal import Platform

/// Reads numbers and texts out of environment variables, with errors that name the variable.
struct VariableReader {
    let values: [String: String]

    /// The first of these variables that is set and not empty.
    func text(_ names: String...) -> String? {
        for name in names {
            if let value = values[name], !value.isEmpty { return value }
        }
        return nil
    }

    /// - Throws: `configuration` if the variable is missing, not a number, or not in `range`.
    func number(_ name: String, in range: ClosedRange<Int>) throws(FathomError) -> Int {
        guard let value = text(name) else {
            throw FathomError(
                .configuration,
                "\(name) is not set; legal are \(range.lowerBound) to \(range.upperBound), set by the launcher")
        }
        guard let number = Int(value), range.contains(number) else {
            throw FathomError(
                .configuration, "\(name) is '\(value)'; legal are \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
