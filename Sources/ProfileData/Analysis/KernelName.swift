// SPDX-License-Identifier: MIT

/// What a demangled kernel name says: the function without its template arguments and parameters.
///
/// `void cutlass::device_kernel<a::b::GemmKernel>(…)` is a wrapper, of which the argument is the function.
struct KernelName {
    /// The function with its namespaces: `deep_ep::internode::dispatch`.
    let qualified: Substring
    /// What stands in the outermost template brackets.
    let template: Substring

    init(_ text: String) {
        var rest = Substring(text)
        if rest.hasPrefix("void ") { rest = rest.dropFirst(5) }
        let wrapper = "device_kernel<"
        var (name, arguments) = Self.split(rest)
        if name.hasSuffix("device_kernel"), rest.dropFirst(name.count - 13).hasPrefix(wrapper) {
            (name, arguments) = Self.split(arguments)
        }
        qualified = name
        template = arguments
    }

    /// The function's own name.
    var leaf: Substring { qualified.split(separator: ":").last ?? qualified }
    /// The namespaces.
    var scopes: [Substring] { qualified.split(separator: ":").dropLast() }

    /// A name that fits a table.
    var short: String {
        // The name of the wrapped class says less than its namespace.
        if leaf == "GemmKernel", let scope = scopes.last { return String(scope) }
        let scope = scopes.last.map { $0 == "native" || $0 == "cuda" ? "" : "\($0)::" } ?? ""
        return scope + leaf
    }

    /// The function before the first template bracket or parameter list, and what is between the brackets.
    private static func split(_ text: Substring) -> (name: Substring, template: Substring) {
        var start = text.startIndex
        var place = start
        while place < text.endIndex {
            switch text[place] {
            case "(" where text[place...].hasPrefix("(anonymous namespace)::"):
                place = text.index(place, offsetBy: 23)
                start = place
                continue
            case "(": return (text[start..<place], "")
            case "<":
                var depth = 0
                let end =
                    text[place...].firstIndex { character in
                        depth += character == "<" ? 1 : character == ">" ? -1 : 0
                        return depth == 0
                    } ?? text.endIndex
                return (text[start..<place], text[text.index(after: place)..<end])
            default: place = text.index(after: place)
            }
        }
        return (text[start...], "")
    }
}
