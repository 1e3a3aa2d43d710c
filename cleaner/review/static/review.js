// node_modules/preact/dist/preact.module.js
var n;
var l;
var u;
var t;
var i;
var r;
var o;
var e;
var f;
var c;
var a;
var s;
var h;
var p;
var v;
var y;
var d = {};
var w = [];
var _ = /acit|ex(?:s|g|n|p|$)|rph|grid|ows|mnc|ntw|ine[ch]|zoo|^ord|itera/i;
var g = Array.isArray;
function m(n2, l2) {
  for (var u3 in l2) n2[u3] = l2[u3];
  return n2;
}
function b(n2) {
  n2 && n2.parentNode && n2.parentNode.removeChild(n2);
}
function k(l2, u3, t2) {
  var i2, r2, o2, e2 = {};
  for (o2 in u3) "key" == o2 ? i2 = u3[o2] : "ref" == o2 ? r2 = u3[o2] : e2[o2] = u3[o2];
  if (arguments.length > 2 && (e2.children = arguments.length > 3 ? n.call(arguments, 2) : t2), "function" == typeof l2 && null != l2.defaultProps) for (o2 in l2.defaultProps) void 0 === e2[o2] && (e2[o2] = l2.defaultProps[o2]);
  return x(l2, e2, i2, r2, null);
}
function x(n2, t2, i2, r2, o2) {
  var e2 = { type: n2, props: t2, key: i2, ref: r2, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: void 0, __v: null == o2 ? ++u : o2, __i: -1, __u: 0 };
  return null == o2 && null != l.vnode && l.vnode(e2), e2;
}
function M() {
  return { current: null };
}
function S(n2) {
  return n2.children;
}
function C(n2, l2) {
  this.props = n2, this.context = l2;
}
function $(n2, l2) {
  if (null == l2) return n2.__ ? $(n2.__, n2.__i + 1) : null;
  for (var u3; l2 < n2.__k.length; l2++) if (null != (u3 = n2.__k[l2]) && null != u3.__e) return u3.__e;
  return "function" == typeof n2.type ? $(n2) : null;
}
function I(n2) {
  if (n2.__P && n2.__d) {
    var u3 = n2.__v, t2 = u3.__e, i2 = [], r2 = [], o2 = m({}, u3);
    o2.__v = u3.__v + 1, l.vnode && l.vnode(o2), q(n2.__P, o2, u3, n2.__n, n2.__P.namespaceURI, 32 & u3.__u ? [t2] : null, i2, null == t2 ? $(u3) : t2, !!(32 & u3.__u), r2), o2.__v = u3.__v, o2.__.__k[o2.__i] = o2, D(i2, o2, r2), u3.__e = u3.__ = null, o2.__e != t2 && P(o2);
  }
}
function P(n2) {
  if (null != (n2 = n2.__) && null != n2.__c) return n2.__e = n2.__c.base = null, n2.__k.some(function(l2) {
    if (null != l2 && null != l2.__e) return n2.__e = n2.__c.base = l2.__e;
  }), P(n2);
}
function A(n2) {
  (!n2.__d && (n2.__d = true) && i.push(n2) && !H.__r++ || r != l.debounceRendering) && ((r = l.debounceRendering) || o)(H);
}
function H() {
  try {
    for (var n2, l2 = 1; i.length; ) i.length > l2 && i.sort(e), n2 = i.shift(), l2 = i.length, I(n2);
  } finally {
    i.length = H.__r = 0;
  }
}
function L(n2, l2, u3, t2, i2, r2, o2, e2, f3, c2, a2) {
  var s2, h2, p2, v2, y2, _2, g2 = t2 && t2.__k || w, m2 = l2.length;
  for (f3 = T(u3, l2, g2, f3, m2), s2 = 0; s2 < m2; s2++) null != (p2 = u3.__k[s2]) && (h2 = -1 != p2.__i && g2[p2.__i] || d, p2.__i = s2, _2 = q(n2, p2, h2, i2, r2, o2, e2, f3, c2, a2), v2 = p2.__e, p2.ref && h2.ref != p2.ref && (h2.ref && J(h2.ref, null, p2), a2.push(p2.ref, p2.__c || v2, p2)), null == y2 && null != v2 && (y2 = v2), 4 & p2.__u ? (f3 = j(p2, f3, n2), h2.__e && (h2.__e = null)) : "function" == typeof p2.type && void 0 !== _2 ? f3 = _2 : v2 && (f3 = v2.nextSibling), p2.__u &= -7);
  return u3.__e = y2, f3;
}
function T(n2, l2, u3, t2, i2) {
  var r2, o2, e2, f3, c2, a2 = u3.length, s2 = a2, h2 = 0;
  for (n2.__k = new Array(i2), r2 = 0; r2 < i2; r2++) null != (o2 = l2[r2]) && "boolean" != typeof o2 && "function" != typeof o2 ? ("string" == typeof o2 || "number" == typeof o2 || "bigint" == typeof o2 || o2.constructor == String ? o2 = n2.__k[r2] = x(null, o2, null, null, null) : g(o2) ? o2 = n2.__k[r2] = x(S, { children: o2 }, null, null, null) : void 0 === o2.constructor && o2.__b > 0 ? o2 = n2.__k[r2] = x(o2.type, o2.props, o2.key, o2.ref ? o2.ref : null, o2.__v) : n2.__k[r2] = o2, f3 = r2 + h2, o2.__ = n2, o2.__b = n2.__b + 1, e2 = null, -1 != (c2 = o2.__i = O(o2, u3, f3, s2)) && (s2--, (e2 = u3[c2]) && (e2.__u |= 2)), null == e2 || null == e2.__v ? (-1 == c2 && (i2 > a2 ? h2-- : i2 < a2 && h2++), "function" != typeof o2.type && (o2.__u |= 4)) : c2 != f3 && (c2 == f3 - 1 ? h2-- : c2 == f3 + 1 ? h2++ : (c2 > f3 ? h2-- : h2++, o2.__u |= 4))) : n2.__k[r2] = null;
  if (s2) for (r2 = 0; r2 < a2; r2++) null != (e2 = u3[r2]) && 0 == (2 & e2.__u) && (e2.__e == t2 && (t2 = $(e2)), K(e2, e2));
  return t2;
}
function j(n2, l2, u3) {
  var t2, i2;
  if ("function" == typeof n2.type) {
    for (t2 = n2.__k, i2 = 0; t2 && i2 < t2.length; i2++) t2[i2] && (t2[i2].__ = n2, l2 = j(t2[i2], l2, u3));
    return l2;
  }
  n2.__e != l2 && (l2 && n2.type && !l2.parentNode && (l2 = $(n2)), l2 = u3.insertBefore(n2.__e, l2 || null));
  do {
    l2 = l2 && l2.nextSibling;
  } while (null != l2 && 8 == l2.nodeType);
  return l2;
}
function O(n2, l2, u3, t2) {
  var i2, r2, o2, e2 = n2.key, f3 = n2.type, c2 = l2[u3], a2 = null != c2 && 0 == (2 & c2.__u);
  if (null === c2 && null == e2 || a2 && e2 == c2.key && f3 == c2.type) return u3;
  if (t2 > (a2 ? 1 : 0)) {
    for (i2 = u3 - 1, r2 = u3 + 1; i2 >= 0 || r2 < l2.length; ) if (null != (c2 = l2[o2 = i2 >= 0 ? i2-- : r2++]) && 0 == (2 & c2.__u) && e2 == c2.key && f3 == c2.type) return o2;
  }
  return -1;
}
function z(n2, l2, u3) {
  "-" == l2[0] ? n2.setProperty(l2, null == u3 ? "" : u3) : n2[l2] = null == u3 ? "" : "number" != typeof u3 || _.test(l2) ? u3 : u3 + "px";
}
function N(n2, l2, u3, t2, i2) {
  var r2, o2;
  n: if ("style" == l2) if ("string" == typeof u3) n2.style.cssText = u3;
  else {
    if ("string" == typeof t2 && (n2.style.cssText = t2 = ""), t2) for (l2 in t2) u3 && l2 in u3 || z(n2.style, l2, "");
    if (u3) for (l2 in u3) t2 && u3[l2] == t2[l2] || z(n2.style, l2, u3[l2]);
  }
  else if ("o" == l2[0] && "n" == l2[1]) r2 = l2 != (l2 = l2.replace(s, "$1")), o2 = l2.toLowerCase(), l2 = o2 in n2 || "onFocusOut" == l2 || "onFocusIn" == l2 ? o2.slice(2) : l2.slice(2), n2.l || (n2.l = {}), n2.l[l2 + r2] = u3, u3 ? t2 ? u3[a] = t2[a] : (u3[a] = h, n2.addEventListener(l2, r2 ? v : p, r2)) : n2.removeEventListener(l2, r2 ? v : p, r2);
  else {
    if ("http://www.w3.org/2000/svg" == i2) l2 = l2.replace(/xlink(H|:h)/, "h").replace(/sName$/, "s");
    else if ("width" != l2 && "height" != l2 && "href" != l2 && "list" != l2 && "form" != l2 && "tabIndex" != l2 && "download" != l2 && "rowSpan" != l2 && "colSpan" != l2 && "role" != l2 && "popover" != l2 && l2 in n2) try {
      n2[l2] = null == u3 ? "" : u3;
      break n;
    } catch (n3) {
    }
    "function" == typeof u3 || (null == u3 || false === u3 && "-" != l2[4] ? n2.removeAttribute(l2) : n2.setAttribute(l2, "popover" == l2 && 1 == u3 ? "" : u3));
  }
}
function V(n2) {
  return function(u3) {
    if (this.l) {
      var t2 = this.l[u3.type + n2];
      if (null == u3[c]) u3[c] = h++;
      else if (u3[c] < t2[a]) return;
      return t2(l.event ? l.event(u3) : u3);
    }
  };
}
function q(n2, u3, t2, i2, r2, o2, e2, f3, c2, a2) {
  var s2, h2, p2, v2, y2, d2, _2, k2, x2, M2, I2, P2, A2, H2, T2, j2, F = u3.type;
  if (void 0 !== u3.constructor) return null;
  128 & t2.__u && (c2 = !!(32 & t2.__u), o2 = [f3 = u3.__e = t2.__e]), (s2 = l.__b) && s2(u3);
  n: if ("function" == typeof F) {
    h2 = e2.length;
    try {
      if (x2 = u3.props, M2 = F.prototype && F.prototype.render, I2 = (s2 = F.contextType) && i2[s2.__c], P2 = s2 ? I2 ? I2.props.value : s2.__ : i2, t2.__c ? k2 = (p2 = u3.__c = t2.__c).__ = p2.__E : (M2 ? u3.__c = p2 = new F(x2, P2) : (u3.__c = p2 = new C(x2, P2), p2.constructor = F, p2.render = Q), I2 && I2.sub(p2), p2.state || (p2.state = {}), p2.__n = i2, v2 = p2.__d = true, p2.__h = [], p2._sb = []), M2 && null == p2.__s && (p2.__s = p2.state), M2 && null != F.getDerivedStateFromProps && (p2.__s == p2.state && (p2.__s = m({}, p2.__s)), m(p2.__s, F.getDerivedStateFromProps(x2, p2.__s))), y2 = p2.props, d2 = p2.state, p2.__v = u3, v2) M2 && null == F.getDerivedStateFromProps && null != p2.componentWillMount && p2.componentWillMount(), M2 && null != p2.componentDidMount && p2.__h.push(p2.componentDidMount);
      else {
        if (M2 && null == F.getDerivedStateFromProps && x2 !== y2 && null != p2.componentWillReceiveProps && p2.componentWillReceiveProps(x2, P2), u3.__v == t2.__v || !p2.__e && null != p2.shouldComponentUpdate && false === p2.shouldComponentUpdate(x2, p2.__s, P2)) {
          u3.__v != t2.__v && (p2.props = x2, p2.state = p2.__s, p2.__d = false), u3.__e = t2.__e, u3.__k = t2.__k, u3.__k.some(function(n3) {
            n3 && (n3.__ = u3);
          }), w.push.apply(p2.__h, p2._sb), p2._sb = [], p2.__h.length && e2.push(p2), f3 = $(t2);
          break n;
        }
        null != p2.componentWillUpdate && p2.componentWillUpdate(x2, p2.__s, P2), M2 && null != p2.componentDidUpdate && p2.__h.push(function() {
          p2.componentDidUpdate(y2, d2, _2);
        });
      }
      if (p2.context = P2, p2.props = x2, p2.__P = n2, p2.__e = false, A2 = l.__r, H2 = 0, M2) p2.state = p2.__s, p2.__d = false, A2 && A2(u3), s2 = p2.render(p2.props, p2.state, p2.context), w.push.apply(p2.__h, p2._sb), p2._sb = [];
      else do {
        p2.__d = false, A2 && A2(u3), s2 = p2.render(p2.props, p2.state, p2.context), p2.state = p2.__s;
      } while (p2.__d && ++H2 < 25);
      p2.state = p2.__s, null != p2.getChildContext && (i2 = m(m({}, i2), p2.getChildContext())), M2 && !v2 && null != p2.getSnapshotBeforeUpdate && (_2 = p2.getSnapshotBeforeUpdate(y2, d2)), T2 = null != s2 && s2.type === S && null == s2.key ? E(s2.props.children) : s2, f3 = L(n2, g(T2) ? T2 : [T2], u3, t2, i2, r2, o2, e2, f3, c2, a2), p2.base = u3.__e, u3.__u &= -161, p2.__h.length && e2.push(p2), k2 && (p2.__E = p2.__ = null);
    } catch (n3) {
      if (e2.length = h2, u3.__v = null, c2 || null != o2) {
        if (n3.then) {
          for (u3.__u |= c2 ? 160 : 128; f3 && 8 == f3.nodeType && f3.nextSibling; ) f3 = f3.nextSibling;
          null != o2 && (o2[o2.indexOf(f3)] = null), u3.__e = f3;
        } else if (null != o2) for (j2 = o2.length; j2--; ) b(o2[j2]);
      } else u3.__e = t2.__e;
      null == u3.__k && (u3.__k = t2.__k || []), n3.then || B(u3), l.__e(n3, u3, t2);
    }
  } else null == o2 && u3.__v == t2.__v ? (u3.__k = t2.__k, u3.__e = t2.__e) : f3 = u3.__e = G(t2.__e, u3, t2, i2, r2, o2, e2, c2, a2);
  return (s2 = l.diffed) && s2(u3), 128 & u3.__u ? void 0 : f3;
}
function B(n2) {
  n2 && (n2.__c && (n2.__c.__e = true), n2.__k && n2.__k.some(B));
}
function D(n2, u3, t2) {
  for (var i2 = 0; i2 < t2.length; i2++) J(t2[i2], t2[++i2], t2[++i2]);
  l.__c && l.__c(u3, n2), n2.some(function(u4) {
    try {
      n2 = u4.__h, u4.__h = [], n2.some(function(n3) {
        n3.call(u4);
      });
    } catch (n3) {
      l.__e(n3, u4.__v);
    }
  });
}
function E(n2) {
  return "object" != typeof n2 || null == n2 || n2.__b > 0 ? n2 : g(n2) ? n2.map(E) : void 0 !== n2.constructor ? null : m({}, n2);
}
function G(u3, t2, i2, r2, o2, e2, f3, c2, a2) {
  var s2, h2, p2, v2, y2, w2, _2, m2 = i2.props || d, k2 = t2.props, x2 = t2.type;
  if ("svg" == x2 ? o2 = "http://www.w3.org/2000/svg" : "math" == x2 ? o2 = "http://www.w3.org/1998/Math/MathML" : o2 || (o2 = "http://www.w3.org/1999/xhtml"), null != e2) {
    for (s2 = 0; s2 < e2.length; s2++) if ((y2 = e2[s2]) && "setAttribute" in y2 == !!x2 && (x2 ? y2.localName == x2 : 3 == y2.nodeType)) {
      u3 = y2, e2[s2] = null;
      break;
    }
  }
  if (null == u3) {
    if (null == x2) return document.createTextNode(k2);
    u3 = document.createElementNS(o2, x2, k2.is && k2), c2 && (l.__m && l.__m(t2, e2), c2 = false), e2 = null;
  }
  if (null == x2) m2 === k2 || c2 && u3.data == k2 || (u3.data = k2);
  else {
    if (e2 = "textarea" == x2 && null != k2.defaultValue ? null : e2 && n.call(u3.childNodes), !c2 && null != e2) for (m2 = {}, s2 = 0; s2 < u3.attributes.length; s2++) m2[(y2 = u3.attributes[s2]).name] = y2.value;
    for (s2 in m2) y2 = m2[s2], "dangerouslySetInnerHTML" == s2 ? p2 = y2 : "children" == s2 || s2 in k2 || "value" == s2 && "defaultValue" in k2 || "checked" == s2 && "defaultChecked" in k2 || N(u3, s2, null, y2, o2);
    for (s2 in k2) y2 = k2[s2], "children" == s2 ? v2 = y2 : "dangerouslySetInnerHTML" == s2 ? h2 = y2 : "value" == s2 ? w2 = y2 : "checked" == s2 ? _2 = y2 : c2 && "function" != typeof y2 || m2[s2] === y2 || N(u3, s2, y2, m2[s2], o2);
    if (h2) c2 || p2 && (h2.__html == p2.__html || h2.__html == u3.innerHTML) || (u3.innerHTML = h2.__html), t2.__k = [];
    else if (p2 && (u3.innerHTML = ""), L("template" == t2.type ? u3.content : u3, g(v2) ? v2 : [v2], t2, i2, r2, "foreignObject" == x2 ? "http://www.w3.org/1999/xhtml" : o2, e2, f3, e2 ? e2[0] : i2.__k && $(i2, 0), c2, a2), null != e2) for (s2 = e2.length; s2--; ) b(e2[s2]);
    c2 && "textarea" != x2 || (s2 = "value", "progress" == x2 && null == w2 ? u3.removeAttribute("value") : null != w2 && (w2 !== u3[s2] || "progress" == x2 && !w2 || "option" == x2 && w2 != m2[s2]) && N(u3, s2, w2, m2[s2], o2), s2 = "checked", null != _2 && _2 != u3[s2] && N(u3, s2, _2, m2[s2], o2));
  }
  return u3;
}
function J(n2, u3, t2) {
  try {
    if ("function" == typeof n2) {
      var i2 = "function" == typeof n2.__u;
      i2 && n2.__u(), i2 && null == u3 || (n2.__u = n2(u3));
    } else n2.current = u3;
  } catch (n3) {
    l.__e(n3, t2);
  }
}
function K(n2, u3, t2) {
  var i2, r2;
  if (l.unmount && l.unmount(n2), (i2 = n2.ref) && (i2.current && i2.current != n2.__e || J(i2, null, u3)), null != (i2 = n2.__c)) {
    if (i2.componentWillUnmount) try {
      i2.componentWillUnmount();
    } catch (n3) {
      l.__e(n3, u3);
    }
    i2.base = i2.__P = i2.__n = null;
  }
  if (i2 = n2.__k) for (r2 = 0; r2 < i2.length; r2++) i2[r2] && K(i2[r2], u3, t2 || "function" != typeof n2.type);
  t2 || b(n2.__e), n2.__c = n2.__ = n2.__e = void 0;
}
function Q(n2, l2, u3) {
  return this.constructor(n2, u3);
}
function R(u3, t2, i2) {
  var r2, o2, e2, f3;
  t2 == document && (t2 = document.documentElement), l.__ && l.__(u3, t2), o2 = (r2 = "function" == typeof i2) ? null : i2 && i2.__k || t2.__k, e2 = [], f3 = [], q(t2, u3 = (!r2 && i2 || t2).__k = k(S, null, [u3]), o2 || d, d, t2.namespaceURI, !r2 && i2 ? [i2] : o2 ? null : t2.firstChild ? n.call(t2.childNodes) : null, e2, !r2 && i2 ? i2 : o2 ? o2.__e : t2.firstChild, r2, f3), D(e2, u3, f3), u3.props.children = null;
}
n = w.slice, l = { __e: function(n2, l2, u3, t2) {
  for (var i2, r2, o2; l2 = l2.__; ) if ((i2 = l2.__c) && !i2.__) try {
    if ((r2 = i2.constructor) && null != r2.getDerivedStateFromError && (i2.setState(r2.getDerivedStateFromError(n2)), o2 = i2.__d), null != i2.componentDidCatch && (i2.componentDidCatch(n2, t2 || {}), o2 = i2.__d), o2) return i2.__E = i2;
  } catch (l3) {
    n2 = l3;
  }
  throw n2;
} }, u = 0, t = function(n2) {
  return null != n2 && void 0 === n2.constructor;
}, C.prototype.setState = function(n2, l2) {
  var u3;
  u3 = null != this.__s && this.__s != this.state ? this.__s : this.__s = m({}, this.state), "function" == typeof n2 && (n2 = n2(m({}, u3), this.props)), n2 && m(u3, n2), null != n2 && this.__v && (l2 && this._sb.push(l2), A(this));
}, C.prototype.forceUpdate = function(n2) {
  this.__v && (this.__e = true, n2 && this.__h.push(n2), A(this));
}, C.prototype.render = S, i = [], o = "function" == typeof Promise ? Promise.prototype.then.bind(Promise.resolve()) : setTimeout, e = function(n2, l2) {
  return n2.__v.__b - l2.__v.__b;
}, H.__r = 0, f = Math.random().toString(8), c = "__d" + f, a = "__a" + f, s = /(PointerCapture)$|Capture$/i, h = 0, p = V(false), v = V(true), y = 0;

// src/cards.ts
var ABSENT = "\0absent";
var SIGNS = { keep: "✓", delete: "✕", relabel: "⇒", unsure: "?" };
var WORDS = { keep: "Keep", delete: "Delete", relabel: "Relabel", unsure: "Unsure" };
function percent(probability) {
  return probability === null ? "" : `${(100 * probability).toFixed(probability < 0.0995 ? 1 : 0)} %`;
}
function changes(given, labels) {
  const gone = given.filter((label) => !labels.includes(label)).map((label) => `− ${label}`);
  const come = labels.filter((label) => !given.includes(label)).map((label) => `+ ${label}`);
  return [...gone, ...come].join(", ");
}
function said(decision, given = []) {
  if (decision.action === "") return "";
  if (decision.labels) return changes(given, decision.labels);
  return `${SIGNS[decision.action]} ${decision.action === "relabel" ? decision.new_label : WORDS[decision.action]}`;
}
function predictionOf(card) {
  if (card.predicted || card.confidence === null) return card.predicted;
  return card.given ? `no ${card.label}` : "";
}
function probable(card) {
  if (card.alternatives.length > 0 || !card.predicted) return card.alternatives;
  return [[card.predicted, card.confidence]];
}
function hasPredictions({ list }) {
  return list !== "audit" && list !== "unreadable" && !isOfIssues(list);
}
function isOfIssues(list) {
  return list === "issue" || list === "groups";
}
function reasonOf(card) {
  const isSaid = card.reason?.includes("suggested");
  return [card.is_first && !isSaid ? "suggested to keep" : "", card.reason].filter(Boolean).join(", ");
}
function scoreOf({ score, group, is_first: isFirst }) {
  if (score === void 0 || isFirst) return "";
  return `${group ? "likeness" : "score"} ${score.toFixed(2)}`;
}
function described(card, page, rankedBy) {
  const labels = card.given?.join(", ") ?? card.label;
  const parts = [card.name];
  if (labels || card.given) parts.push(`given ${labels || "no label"}`);
  if (isOfIssues(page.list)) parts.push(...[card.split ?? "", reasonOf(card)].filter(Boolean));
  if (hasPredictions(page)) {
    const predicted = predictionOf(card);
    parts.push(
      predicted ? `predicted ${predicted} ${percent(card.confidence)}`.trim() : `${rankedBy} ${card.loss || "unknown"}`
    );
  }
  return `${parts.join(", ")}; ${said(card, card.given) || "undecided"}`;
}
function toggledLabel(card, page) {
  if (!card.given) return void 0;
  if (isOfIssues(page.list)) return void 0;
  return page.list === "audit" ? card.asked?.[0] : card.label;
}
function labelsOf(card) {
  return card.labels ?? card.given ?? [];
}
function decidedCard(card, action, newLabel, reviewer) {
  const by = { ...card, reviewer, decided_at: "", note: "" };
  const open = { ...by, action: "", new_label: "", labels: null, reviewer: "" };
  if (action === "undo") return open;
  if (action === "predicted") {
    const isSame = card.predicted === card.label || card.predicted === "";
    return decidedCard(card, isSame ? "keep" : "relabel", isSame ? "" : card.predicted, reviewer);
  }
  if (action !== "toggle") {
    const keepsSet = action === "keep" && card.labels;
    return keepsSet ? by : { ...by, action, new_label: action === "relabel" ? newLabel : "", labels: null };
  }
  const [given, before] = [card.given ?? [], labelsOf(card)];
  const labels = before.includes(newLabel) ? before.filter((each) => each !== newLabel) : [...before, newLabel];
  const isAsBefore = labels.length === given.length && labels.every((label) => given.includes(label));
  return isAsBefore && card.labels ? open : { ...by, action: "relabel", new_label: labels.join(", "), labels };
}

// src/layout.ts
var GAP = 4;
var LINE = 19;
var FRAME = 6;
var ISSUE_LINES = 4;
var SIZES = { least: 80, usual: 160, most: 400, step: 20 };
var TWO_FROM = 240;
var MOST_CARDS = 200;
var LOWEST = 0.86;
function layoutOf(area, size, lines) {
  const text = lines > 0 ? lines * LINE + 2 : 0;
  const columns = Math.max(area.width >= TWO_FROM ? 2 : 1, Math.floor((area.width + GAP) / (size + GAP)));
  const width = Math.floor((area.width - GAP * (columns - 1)) / columns);
  const fitting = Math.max(1, Math.floor((area.height + GAP) / (LOWEST * width + text + GAP)));
  const stretched = Math.floor((area.height - GAP * (fitting - 1)) / fitting) - text;
  const rows = Math.max(1, Math.min(fitting, Math.floor(MOST_CARDS / columns)));
  const height = Math.round(Math.min(Math.max(stretched, LOWEST * width), 1.25 * width));
  return { columns, rows, width, height, text };
}

// src/state.ts
var NO_LAYOUT = { columns: 1, rows: 1, width: SIZES.usual, height: SIZES.usual, text: 0 };
function emptyState(task) {
  return {
    task,
    rankedBy: "loss",
    vocab: [],
    page: null,
    cards: /* @__PURE__ */ new Map(),
    saidAt: /* @__PURE__ */ new Map(),
    urls: /* @__PURE__ */ new Map(),
    status: null,
    rows: [],
    rowsSaidAt: /* @__PURE__ */ new Map(),
    at: 0,
    anchor: 0,
    selected: /* @__PURE__ */ new Set(),
    pointed: "",
    underway: [],
    unconfirmed: /* @__PURE__ */ new Set(),
    notice: "",
    isSilent: false,
    closedWarnings: 0,
    choosing: null,
    recent: [],
    large: null,
    figures: null,
    summary: null,
    tab: "images",
    search: "",
    hasDrawer: false,
    isFolded: false,
    hasFilters: false,
    hasHelp: false,
    size: SIZES.usual,
    layout: NO_LAYOUT,
    issueLayout: NO_LAYOUT,
    last: "",
    announced: ""
  };
}
function pathsOf(state) {
  return [...state.cards.keys()];
}
function cursorPath(state) {
  return pathsOf(state)[state.at] ?? "";
}
function isAtEnd(state) {
  return state.page !== null && state.cards.size > 0 && state.at >= state.cards.size;
}
function isLastPage(state) {
  return state.page !== null && state.page.page + 1 >= state.page.pages;
}
function shownCard(state, path) {
  const card = state.cards.get(path);
  if (!card) return void 0;
  const reviewer = state.status?.reviewer ?? "";
  return state.underway.filter((each) => each.paths.includes(path)).reduce((shown, each) => decidedCard(shown, each.action, each.newLabel, reviewer), card);
}
function isUnderway(state, path) {
  return state.underway.some((each) => each.paths.includes(path));
}
function targets(state) {
  if (state.selected.size > 0) return pathsOf(state).filter((path2) => state.selected.has(path2));
  const path = cursorPath(state);
  return path ? [path] : [];
}
function nextList(state, by) {
  const at = state.rows.findIndex((row) => row.label === state.page?.label);
  const around = [...state.rows.slice(at + 1), ...state.rows.slice(0, Math.max(at, 0))];
  if (by < 0) around.reverse();
  return around.find((row) => row.decided < row.kept);
}
function moved(state, by, extend) {
  const at = Math.min(Math.max(state.at + by, 0), Math.max(0, state.cards.size - 1));
  return placed(state, at, extend);
}
function placed(state, at, extend) {
  if (!extend) return { ...state, at, anchor: at, selected: /* @__PURE__ */ new Set() };
  const [first, last] = [Math.min(state.anchor, at), Math.max(state.anchor, at)];
  return { ...state, at, selected: new Set(pathsOf(state).slice(first, last + 1)) };
}
function toggled(state, path) {
  const selected = new Set(state.selected);
  if (!selected.delete(path)) selected.add(path);
  const at = pathsOf(state).indexOf(path);
  return { ...state, at, anchor: at, selected };
}
function toggledAll(state) {
  const everything = pathsOf(state);
  return { ...state, selected: new Set(state.selected.size === everything.length ? [] : everything) };
}
function started(state, decision, moves) {
  const last = pathsOf(state).indexOf(decision.paths.at(-1) ?? "");
  const next = moves ? placed(state, last + 1, false) : state;
  const unconfirmed = without(state.unconfirmed, decision.paths);
  return { ...next, underway: [...state.underway, decision], unconfirmed, notice: "", choosing: null };
}
function settled(state, id) {
  return { ...state, underway: state.underway.filter((each) => each.id !== id) };
}
function givenUp(state, id) {
  const paths = state.underway.filter((each) => each.id === id).flatMap((each) => each.paths);
  return { ...settled(state, id), unconfirmed: /* @__PURE__ */ new Set([...state.unconfirmed, ...paths]) };
}
function without(paths, gone) {
  return paths.size === 0 ? paths : new Set([...paths].filter((path) => !gone.includes(path)));
}
function withPage(state, reply, urls, toLast = false) {
  const cards = new Map(reply.cards.map((card) => [card.path, card]));
  const asked = toLast ? cards.size - 1 : reply.cards.findIndex((card) => card.path === reply.at);
  const at = Math.max(0, asked);
  return {
    ...withStatus(state, reply),
    status: reply,
    // a page brings every card, whatever was missed before
    page: reply,
    cards,
    saidAt: new Map(reply.cards.map((card) => [card.path, reply.clock])),
    urls,
    at,
    anchor: at,
    selected: /* @__PURE__ */ new Set(),
    pointed: "",
    unconfirmed: /* @__PURE__ */ new Set(),
    choosing: state.choosing && cards.has(state.choosing.path) ? state.choosing : null,
    summary: null,
    notice: reply.note
  };
}
function hasMissed(state, reply) {
  return state.status !== null && reply.since > state.status.version;
}
function seenVersion(state, reply) {
  const seen = state.status?.version ?? reply.version;
  return hasMissed(state, reply) ? seen : Math.max(seen, reply.version);
}
function withStatus(state, reply) {
  const [cards, saidAt] = [new Map(state.cards), new Map(state.saidAt)];
  const news = reply.changed.filter(({ path }) => cards.has(path) && reply.clock >= (saidAt.get(path) ?? 0));
  for (const card of news) {
    const { error, size } = cards.get(card.path) ?? {};
    cards.set(card.path, { ...card, ...error ? { error } : {}, ...size ? { size } : {} });
    saidAt.set(card.path, reply.clock);
  }
  const isLatest = reply.clock >= (state.status?.clock ?? 0);
  const unconfirmed = without(
    state.unconfirmed,
    news.map((card) => card.path)
  );
  return {
    ...state,
    ...news.length > 0 ? { cards, saidAt, unconfirmed } : {},
    ...withProgress(state, reply),
    status: { ...isLatest || !state.status ? reply : state.status, version: seenVersion(state, reply) }
  };
}
function withProgress(state, { clock, decided }) {
  const rowsSaidAt = new Map(state.rowsSaidAt);
  const news = Object.entries(decided).filter(([label]) => clock >= (rowsSaidAt.get(label) ?? 0));
  if (news.length === 0) return { rows: state.rows, rowsSaidAt };
  for (const [label] of news) rowsSaidAt.set(label, clock);
  const numbers = new Map(news);
  const rows = state.rows.map((row) => {
    const [decided2 = row.decided, kept = row.kept] = numbers.get(row.label) ?? [];
    return numbers.has(row.label) ? { ...row, decided: decided2, kept } : row;
  });
  return { rows, rowsSaidAt };
}

// src/app.ts
function refuse(app, notice) {
  app.set({ notice, announced: notice });
}
var PLACE_AFTER = 500;
function follow(app, before) {
  const { state } = app;
  const path = cursorPath(state);
  if (state.large && state.large.path !== path) followLarge(app, path);
  if (isAtEnd(state) && isLastPage(state) && !isAtEnd(before)) app.channel.ask("summary", {});
  if (path && path !== cursorPath(before)) placeSoon(app);
}
function followLarge(app, path) {
  if (app.state.large?.url) URL.revokeObjectURL(app.state.large.url);
  app.set({ large: { path, url: "", error: "", compared: [] } });
  if (!path) return;
  app.channel.ask("large", { path });
  app.channel.ask("typical", { path });
}
var timers = /* @__PURE__ */ new WeakMap();
function placeSoon(app) {
  clearTimeout(timers.get(app));
  const place = () => {
    const at = cursorPath(app.state);
    if (at && !app.channel.isTurning() && app.el.isConnected) app.channel.ask("place", { at });
  };
  timers.set(app, setTimeout(place, PLACE_AFTER));
}

// src/groups.ts
function membersOf(state, path) {
  const group = state.page?.list === "groups" ? state.cards.get(path)?.group : void 0;
  if (group === void 0) return [];
  return [...state.cards.values()].filter((card) => card.group === group).map((card) => card.path);
}
function otherLabel(state, path) {
  const own = state.cards.get(path)?.label;
  if (state.task !== "single-label" || own === void 0) return void 0;
  const labels = membersOf(state, path).map((member) => state.cards.get(member)?.label ?? "");
  return labels.find((label) => label !== own && state.vocab.includes(label));
}
function groupName({ group, members }) {
  return `Group ${group} · ${members === 1 ? "1 image" : `${members?.toLocaleString("en")} images`}`;
}

// src/keys.ts
var KEYS = [
  { command: "predicted", keys: ["Enter"], shown: "⏎", help: "take the predicted label" },
  { command: "keep", keys: ["K"], help: "keep: the label is right" },
  { command: "relabel", keys: ["R"], help: "another label: type to find it" },
  {
    command: "alternative",
    keys: ["1", "2", "3", "4", "5"],
    shown: "1–5",
    help: "take the first to fifth probable label"
  },
  { command: "delete", keys: ["D"], help: "delete" },
  { command: "unsure", keys: ["S"], help: "unsure" },
  { command: "keepOnly", keys: ["G"], help: "keep this one, or those selected, and delete the rest of the group" },
  { command: "allFine", keys: ["F"], help: "all are fine: keep every image of the group, and do not ask again" },
  { command: "otherLabel", keys: ["L"], help: "take the label of the other image of the group" },
  { command: "undo", keys: ["U"], help: "undo your last action" },
  { command: "redo", keys: ["Shift+U"], help: "redo it" },
  { command: "large", keys: ["Z", "Space"], help: "open or close the large view" },
  {
    command: "select",
    keys: ["X"],
    help: "select, or no longer; Shift with an arrow selects what is passed, Ctrl with an arrow only moves"
  },
  { command: "selectPage", keys: ["A"], help: "select the page" },
  { command: "keepRest", keys: ["Shift+K"], help: "keep what is undecided on the page, and go on" },
  { command: "nextPage", keys: ["N"], help: "next page; → on the last image, too" },
  { command: "previousPage", keys: ["P"], help: "previous page; ← on the first image, too" },
  { command: "nextList", keys: ["]"], help: "next list with undecided images" },
  { command: "previousList", keys: ["["], help: "previous one" },
  { command: "none", keys: ["Escape"], shown: "Esc", help: "select nothing; close what is open" },
  { command: "help", keys: ["?"], help: "this list" }
];
var NEED_LABELS = /* @__PURE__ */ new Set(["predicted", "relabel", "alternative"]);
var OF_GROUPS = /* @__PURE__ */ new Set(["keepOnly", "allFine", "otherLabel"]);
var WITH_SETS = {
  keep: "keep: the labels are right as the card shows them",
  predicted: "add the label of this class, or remove it",
  relabel: "add or remove another label: type to find it",
  alternative: "add or remove the first to fifth probable label"
};
function keyName(event) {
  if (event.key === " ") return "Space";
  if (!/^[a-z]$/i.test(event.key)) return event.key;
  return `${event.shiftKey ? "Shift+" : ""}${event.key.toUpperCase()}`;
}
function commandOf(name, task, list) {
  return keysOf(task, list).find((each) => each.keys.includes(name))?.command;
}
function keysOf(task, list) {
  const known = KEYS.filter(({ command }) => list === "groups" || !OF_GROUPS.has(command)).filter(
    ({ command }) => command !== "otherLabel" || task === "single-label"
  );
  if (task === "other") return known.filter(({ command }) => !NEED_LABELS.has(command));
  return known.map((key) => ({ ...key, help: task === "multi-label" && WITH_SETS[key.command] || key.help }));
}
var IN_FIGURES = /* @__PURE__ */ new Set(["undo", "redo", "nextList", "previousList", "none", "help"]);
function offers(state) {
  const all = offersOfImages(state);
  if (state.tab === "images") return all;
  const back = { command: "none", key: "Esc", text: "Back to the images", isOff: false };
  return [back, ...all.filter(({ command }) => IN_FIGURES.has(command))];
}
function offersOfImages(state) {
  const card = shownCard(state, cursorPath(state));
  const hasGroups = state.page?.list === "groups";
  const texts = [
    ...groupTexts(state),
    ["predicted", enterText(state)],
    ["keep", card || state.selected.size ? "Keep" : null],
    ["relabel", card ? card.given ? "Other label ±" : "Other label" : null],
    ["delete", card ? "Delete" : null],
    ["unsure", card ? "Unsure" : null],
    ["undo", state.status?.can_undo ? "Undo" : "Nothing to undo", !state.status?.can_undo],
    ["large", card ? state.large ? "Close" : "Large" : null],
    ["keepRest", state.large || isAtEnd(state) || hasGroups ? null : "Keep rest & next"],
    ["nextPage", state.large || isLastPage(state) ? null : "Next page"],
    ["nextList", nextListText(state)],
    ["help", state.large ? null : "Keys"]
  ];
  const known = keysOf(state.task, state.page?.list);
  return texts.flatMap(([command, text, isOff = false]) => {
    const key = known.find((each) => each.command === command);
    return key && text !== null ? [{ command, key: key.shown ?? key.keys[0] ?? "", text, isOff }] : [];
  });
}
function groupTexts(state) {
  const path = targets(state)[0] ?? "";
  if (membersOf(state, path).length === 0) return [];
  const label = otherLabel(state, path);
  return [
    ["keepOnly", "Keep, delete rest"],
    ["allFine", "All fine"],
    ["otherLabel", label ? `⇒ ${label}` : null]
  ];
}
function enterText(state) {
  const card = shownCard(state, targets(state)[0] ?? "");
  if (!card || !state.page) return null;
  if (state.selected.size > 1) return card.given ? "Add or remove" : "Predicted";
  const label = toggledLabel(card, state.page);
  if (card.given) return label === void 0 ? null : `± ${label}`;
  if (card.predicted === "") return null;
  return card.predicted === card.label ? "Keep" : card.predicted;
}
function nextListText(state) {
  const next = state.large ? void 0 : nextList(state, 1);
  return next ? next.name : null;
}

// src/labels.ts
function plain(text) {
  return text.toLowerCase().replaceAll(/[\s_-]+/g, " ").trim();
}
function fitness(label, typed) {
  const [text, wanted2] = [plain(label), plain(typed)];
  if (text === wanted2) return 0;
  if (text.startsWith(wanted2)) return 1;
  if (text.includes(wanted2)) return 2;
  return wanted2.split(" ").every((word) => text.includes(word)) ? 3 : null;
}
function found(entries, name, typed) {
  if (plain(typed) === "") return [...entries];
  const fits = entries.map((entry) => ({ entry, fit: fitness(name(entry), typed) }));
  return fits.filter((each) => each.fit !== null).sort((one, other) => one.fit - other.fit).map((each) => each.entry);
}
var collator = new Intl.Collator(void 0, { numeric: true });
var sorted = /* @__PURE__ */ new WeakMap();
function byName(vocab) {
  const labels = sorted.get(vocab) ?? [...vocab].sort(collator.compare);
  sorted.set(vocab, labels);
  return labels;
}
function offered(card, vocab, recent) {
  const probable2 = [...card.predicted ? [card.predicted] : [], ...card.alternatives.map(([label]) => label)];
  const known = new Set(vocab);
  const ordered = new Set([...probable2, ...recent, ...byName(vocab)].filter((label) => known.has(label)));
  if (!card.given) ordered.delete(card.label);
  return [...ordered];
}

// src/places.ts
function pageLayout({ page, layout, issueLayout }) {
  const { width, height, text } = issueLayout;
  if (page?.list === "issue") return { ...issueLayout, height: height + LINE, text: text - LINE };
  if (page?.list !== "groups") return layout;
  return { ...issueLayout, width: width - 2 * FRAME, height: height - 2 * FRAME, text: text - LINE };
}
function groupsOf(cards) {
  const groups = /* @__PURE__ */ new Map();
  for (const card of cards) groups.set(card.group ?? 0, [...groups.get(card.group ?? 0) ?? [], card]);
  return [...groups.values()];
}
function placesOf(sizes, columns) {
  let [row, column] = [0, 0];
  return sizes.flatMap((size) => {
    if (column > 0 && column + size > columns) [row, column] = [row + 1, 0];
    const places = Array.from({ length: size }, (_2, at) => ({
      row: row + Math.floor((column + at) / columns),
      column: (column + at) % columns
    }));
    if (size > columns) row += Math.ceil(size / columns) - 1;
    column = size > columns ? columns : column + size;
    return places;
  });
}
function placesOnPage(state) {
  const cards = [...state.cards.values()];
  const sizes = state.page?.list === "groups" ? groupsOf(cards).map((group) => group.length) : cards.map(() => 1);
  return placesOf(sizes, pageLayout(state).columns);
}
function rowStep(state, by) {
  const { columns } = pageLayout(state);
  if (state.page?.list !== "groups") return by * columns;
  const places = placesOnPage(state);
  const from = places[state.at];
  if (!from) return by;
  const beside = places.flatMap(({ row, column }, at) => row === from.row + by ? [{ at, column }] : []);
  const distance = ({ column }) => Math.abs(column - from.column);
  const nearest = beside.reduce((best, each) => best && distance(best) <= distance(each) ? best : each, beside[0]);
  return nearest ? nearest.at - state.at : by * columns;
}
function leavesPage(state, by) {
  const last = state.cards.size - 1;
  if (by === 1) return state.at >= last;
  if (by === -1) return state.at <= 0;
  const places = placesOnPage(state);
  const row = places[state.at]?.row ?? Number.POSITIVE_INFINITY;
  return by > 0 ? row >= (places[last]?.row ?? 0) : row === 0;
}

// src/moving.ts
function moveOnly(app, by) {
  const { at } = moved(app.state, by, false);
  app.set({ at, anchor: at });
  app.focus();
}
function move(app, by, extend = false, crosses = true) {
  const { state } = app;
  if (app.channel.isTurning()) {
    app.held.push(() => move(app, by, extend, crosses));
    return;
  }
  const mayCross = crosses && !extend && !(by < 0 && isAtEnd(state)) && leavesPage(state, by);
  if (mayCross && by > 0) {
    if (!isLastPage(state)) return turn(app, 1);
    if (by === 1) app.set(placed(state, state.cards.size, false));
  } else if (mayCross && (state.page?.page ?? 0) > 0) {
    return turn(app, -1, true);
  } else app.set(moved(state, isAtEnd(state) && by < 0 && crosses ? -1 : by, extend && !state.large));
  app.set({ notice: "" });
  app.focus();
}
function turn(app, by, toLast = false) {
  if (app.channel.isTurning()) {
    app.held.push(() => turn(app, by, toLast));
    return;
  }
  const page = (app.state.page?.page ?? 0) + by;
  if (page < 0 || page >= (app.state.page?.pages ?? 0)) return;
  const id = app.channel.ask("turn", { page });
  if (toLast) app.toLast.add(id);
}
function openList(app, fields) {
  app.set({ tab: "images", hasDrawer: false });
  app.channel.ask("open", fields);
  app.focus();
}
function openNext(app, by) {
  if (app.channel.isTurning()) {
    app.held.push(() => openNext(app, by));
    return;
  }
  const next = nextList(app.state, by);
  if (next) openList(app, { label: next.label });
  else refuse(app, "Every image of the other lists is decided.");
}
function filter(app, fields) {
  app.channel.ask("filter", fields);
  app.focus();
}
function point(app, path, extend, toggle) {
  const at = pathsOf(app.state).indexOf(path);
  app.set({ ...toggle ? toggled(app.state, path) : placed(app.state, at, extend), notice: "", choosing: null });
  app.focus();
}

// src/protocol.ts
var DECIDING = /* @__PURE__ */ new Set(["decide", "resolve", "undo", "redo"]);
var SHOWN_AT_ONCE = /* @__PURE__ */ new Set(["decide", "resolve"]);
var TURNING = /* @__PURE__ */ new Set(["ready", "fit", "open", "turn", "filter", "undo", "redo"]);

// src/actions.ts
var HOLD_AFTER = 2e3;
function delay({ state, channel, held: held2 }) {
  if (state.tab === "figures") return "The overview is shown, so nothing was done: Escape goes back to the images.";
  if (channel.isTurning() || held2.length > 0)
    return "The page is still opening, so nothing was decided. Look at it and press the key again.";
  const waiting2 = channel.waiting().filter((asked) => DECIDING.has(asked.kind));
  if (waiting2[0] && performance.now() - waiting2[0].since > HOLD_AFTER) {
    const decisions = waiting2.length === 1 ? "1 decision is" : `${waiting2.length} decisions are`;
    return `Nothing was decided: ${decisions} still waiting for the kernel's answer.`;
  }
  return "";
}
function refusal(app) {
  const { state } = app;
  const why = delay(app);
  if (why) return why;
  if (isAtEnd(state) && state.selected.size === 0) {
    const next = isLastPage(state) ? "] opens the next list" : "→ opens the next page";
    return `This is the end of the page, so nothing was decided: ${next}, ← goes back to the last image.`;
  }
  return "";
}
function decide(app, action, newLabel = "", paths = targets(app.state), moves = true) {
  const { state, channel } = app;
  if (!state.page || !state.status) return;
  const why = refusal(app);
  if (why) return refuse(app, why);
  if (paths.length === 0) return;
  const fields = { version: state.status.version, paths, action, ...newLabel ? { new_label: newLabel } : {} };
  const id = channel.ask("decide", fields);
  app.set(started(state, { id, paths, action, newLabel }, moves));
  const card = shownCard(app.state, paths[0] ?? "");
  const what = card ? said(card, card.given) || "undecided" : "";
  const last = paths.length > 1 ? `${paths.length} images: ${what}` : `${card?.name}: ${what}`;
  app.set({ last, announced: last });
  app.focus();
}
function giveLabel(app, label, paths = targets(app.state), moves = true) {
  const { state } = app;
  const card = shownCard(state, paths[0] ?? "");
  app.set({ recent: [label, ...state.recent.filter((each) => each !== label)].slice(0, 5), choosing: null });
  if (card?.given) decide(app, "toggle", label, paths, false);
  else {
    const has = (path) => state.cards.get(path)?.label === label;
    const [same, others] = [paths.filter(has), paths.filter((path) => !has(path))];
    if (same.length > 0) decide(app, "keep", "", same, moves && others.length === 0);
    if (others.length > 0) decide(app, "relabel", label, others, moves);
  }
}
function resolve(app, keepsAll) {
  const { state, channel } = app;
  const [chosen, why] = [targets(state), refusal(app) || groupRefusal(app)];
  if (why) return refuse(app, why);
  if (!state.status || chosen.length === 0) return;
  const paths = membersOf(state, chosen[0] ?? "");
  const kept = keepsAll ? paths : chosen;
  const rest = paths.filter((path) => !kept.includes(path));
  const id = channel.ask("resolve", { version: state.status.version, paths, kept });
  const same = kept.filter((path) => shownCard(state, path)?.action !== "relabel");
  let next = state;
  for (const [action, about] of [["keep", same], ["delete", rest]])
    if (about.length > 0) next = started(next, { id, paths: about, action, newLabel: "" }, false);
  const last = rest.length === 0 ? `${kept.length} images: all are fine` : `${kept.length} kept, ${rest.length} deleted`;
  app.set({ ...placed(next, pathsOf(state).indexOf(paths.at(-1) ?? "") + 1, false), last, announced: last });
  app.focus();
}
function groupRefusal({ state }) {
  const [first = "", ...others] = targets(state);
  const paths = membersOf(state, first);
  const { members = 0 } = state.cards.get(first) ?? {};
  if (others.some((path) => !paths.includes(path)))
    return "Images of several groups are selected, so nothing was decided.";
  if (paths.length === members) return "";
  return `The page shows ${paths.length} of the ${members} images of this group, so decide about them one by one.`;
}
function takeOtherLabel(app) {
  const label = otherLabel(app.state, targets(app.state)[0] ?? "");
  if (label === void 0) refuse(app, "The images of this group have the same label: R finds another one.");
  else giveLabel(app, label);
}
function takePredicted(app) {
  const { state } = app;
  if (!state.page) return;
  const paths = targets(state);
  const card = shownCard(state, paths[0] ?? "");
  if (!card?.given) {
    const isBlind = paths.some((path) => state.cards.get(path)?.predicted === "");
    if (!isBlind) return decide(app, "predicted");
    const why = state.page.list === "audit" ? "The audit sample is judged without the model's prediction" : "There is no prediction to take";
    return refuse(app, `${why}: R finds a label.`);
  }
  const label = toggledLabel(card, state.page);
  const isSame = paths.every((path) => state.page && label === toggledLabel(state.cards.get(path) ?? card, state.page));
  if (label === void 0 || !isSame)
    refuse(app, "These images have no label in common to add or remove: R finds one.");
  else decide(app, "toggle", label);
}
function takeAlternative(app, number2) {
  const card = shownCard(app.state, targets(app.state)[0] ?? "");
  const label = card && probable(card)[number2]?.[0];
  if (targets(app.state).length > 1) refuse(app, "1 to 5 are about one image. Enter gives each its predicted label.");
  else if (label === void 0) refuse(app, `This image has no ${number2 + 1}. probable label: R finds any label.`);
  else giveLabel(app, label);
}
function keepRest(app) {
  const { state } = app;
  const why = delay(app);
  if (why) return refuse(app, why);
  const undecided = pathsOf(state).filter((path) => shownCard(state, path)?.action === "");
  if (undecided.length > 0) {
    app.set({ selected: /* @__PURE__ */ new Set(), at: state.cards.size - 1 });
    decide(app, "keep", "", undecided, false);
    if (app.state.underway.at(-1)?.paths !== undecided) return;
  }
  goOnOnceSaved(app);
}
function goOnOnceSaved(app) {
  if (app.state.underway.length > 0) app.held.push(() => goOnOnceSaved(app));
  else if (!isLastPage(app.state)) turn(app, 1);
  else if (nextList(app.state, 1)) openNext(app, 1);
  else {
    app.set(placed(app.state, app.state.cards.size, false));
    app.focus();
  }
}
function undo(app, kind) {
  const { status } = app.state;
  const isPending = app.state.underway.length > 0;
  if (kind === "undo" ? !status?.can_undo && !isPending : !status?.can_redo) return refuse(app, `Nothing to ${kind}`);
  app.set({ notice: "", last: "" });
  app.channel.ask(kind, {});
}
function openLarge(app) {
  const path = cursorPath(app.state);
  if (!path) return;
  app.set({
    ...placed(app.state, app.state.at, false),
    choosing: null,
    large: { path: "", url: "", error: "", compared: [] }
  });
}
function closeLarge(app) {
  if (app.state.large?.url) URL.revokeObjectURL(app.state.large.url);
  app.set({ large: null, choosing: null });
  app.focus();
}
function choose(app, path = cursorPath(app.state)) {
  const card = shownCard(app.state, path);
  if (!card) return;
  const marked = card.predicted && card.predicted !== card.label ? 0 : -1;
  app.set({ choosing: app.state.choosing?.path === path ? null : { path, typed: "", marked } });
}
function choices(app) {
  const card = shownCard(app.state, app.state.choosing?.path ?? "");
  return card ? offered(card, app.state.vocab, app.state.recent) : [];
}
function closeOne(app) {
  const { state } = app;
  if (state.choosing) app.set({ choosing: null });
  else if (state.tab === "figures") app.set({ tab: "images" });
  else if (state.large) closeLarge(app);
  else app.set({ ...placed(state, state.at, false), hasDrawer: false, notice: "" });
  app.focus();
}
var COMMANDS = {
  keep: (app) => decide(app, "keep"),
  delete: (app) => decide(app, "delete"),
  unsure: (app) => decide(app, "unsure"),
  keepOnly: (app) => resolve(app, false),
  allFine: (app) => resolve(app, true),
  otherLabel: takeOtherLabel,
  predicted: takePredicted,
  alternative: (app, key) => takeAlternative(app, Number(key) - 1),
  relabel: (app) => choose(app),
  undo: (app) => undo(app, "undo"),
  redo: (app) => undo(app, "redo"),
  select: (app) => !app.state.large && cursorPath(app.state) && app.set(toggled(app.state, cursorPath(app.state))),
  selectPage: (app) => !app.state.large && app.set(toggledAll(app.state)),
  keepRest: (app) => !app.state.large && keepRest(app),
  nextPage: (app) => turn(app, 1),
  previousPage: (app) => turn(app, -1),
  nextList: (app) => !app.state.large && openNext(app, 1),
  previousList: (app) => !app.state.large && openNext(app, -1),
  large: (app) => app.state.large ? closeLarge(app) : openLarge(app),
  none: closeOne,
  help: (app) => app.set({ hasHelp: true })
};
var HELD = /* @__PURE__ */ new Set(["relabel", "large", "select", "selectPage", "undo", "redo"]);
function run(app, command, key = "") {
  if (app.state.tab === "figures" && !IN_FIGURES.has(command)) refuse(app, delay(app));
  else if (HELD.has(command) && app.channel.isTurning()) app.held.push(() => run(app, command, key));
  else COMMANDS[command](app, key);
}
var PAUSE = 1e3;
function listenAfterPause(app) {
  app.deafUntil = performance.now() + PAUSE;
  refuse(app, "Another page came while you were choosing a label, so nothing was decided.");
  return true;
}
function press(app, event) {
  const isAltGraph = event.getModifierState("AltGraph");
  const hasModifier = event.metaKey || (event.ctrlKey || event.altKey) && !isAltGraph;
  if (event.isComposing || hasModifier && !event.key.startsWith("Arrow")) return false;
  if (performance.now() < app.deafUntil) return listenAfterPause(app);
  const [up, down] = app.state.large ? [-1, 1] : [rowStep(app.state, -1), rowStep(app.state, 1)];
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: up, ArrowDown: down };
  const ends = { Home: -app.state.cards.size, End: app.state.cards.size };
  const by = steps[event.key] ?? ends[event.key];
  if (by !== void 0 && app.state.tab === "figures") return false;
  if (by !== void 0) {
    if (event.altKey) return false;
    if (hasModifier) moveOnly(app, by);
    else move(app, by, event.shiftKey, event.key in steps);
    return true;
  }
  const command = commandOf(keyName(event), app.state.task, app.state.page?.list);
  if (command && !event.repeat) run(app, command, event.key);
  return command !== void 0;
}

// src/dom.ts
var MARGIN = 12;
var [LETTER, PROBABILITY] = [7, 40];
var SIZE_KEY = "cleaner-picture-size";
function savedSize() {
  try {
    const size = Number(localStorage.getItem(SIZE_KEY));
    return size >= SIZES.least && size <= SIZES.most ? size : SIZES.usual;
  } catch {
    return SIZES.usual;
  }
}
function saveSize(size) {
  try {
    localStorage.setItem(SIZE_KEY, String(size));
  } catch {
  }
}
function measuredLayouts(app) {
  const area = app.el.querySelector(".cleaner-images");
  const { vocab, task, size } = app.state;
  const isLong = vocab.some((label) => label.length * LETTER > size - PROBABILITY);
  const lines = task === "other" ? 0 : isLong || task === "multi-label" ? 2 : 1;
  const style = area ? getComputedStyle(area) : null;
  const padding = (one, other) => Number.parseFloat(one) + Number.parseFloat(other);
  const width = (area?.clientWidth ?? 0) - (style ? padding(style.paddingLeft, style.paddingRight) : 0);
  const height = (area?.clientHeight ?? 0) - (style ? padding(style.paddingTop, style.paddingBottom) : 0);
  return {
    layout: layoutOf({ width, height }, size * (task === "other" ? 2 : 1), lines),
    issueLayout: layoutOf({ width, height }, size, ISSUE_LINES)
  };
}
function pixels(length) {
  return Math.ceil(length * devicePixelRatio);
}
function wanted({ state: { layout, issueLayout } }) {
  const { columns, rows } = issueLayout;
  const longest = Math.max(...[layout, issueLayout].flatMap(({ width, height }) => [width, height]));
  return { page_size: layout.columns * layout.rows, columns, rows, pixels: pixels(longest) };
}
function followTheme(el) {
  const update = () => {
    const [red = 255, green = 255, blue = 255] = (getComputedStyle(el).backgroundColor.match(/[\d.]+/g) ?? []).map(
      Number
    );
    el.style.colorScheme = 0.3 * red + 0.6 * green + 0.1 * blue < 128 ? "dark" : "light";
  };
  update();
  const observer = new MutationObserver(update);
  const attributeFilter = ["class", "data-jp-theme-light", "data-jp-theme-name", "style"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  return () => observer.disconnect();
}
function followRoom(el) {
  let scroller = null;
  for (let around = el.parentElement; around && around !== document.body; around = around.parentElement)
    if (/auto|scroll/.test(getComputedStyle(around).overflowY)) scroller = around;
  if (!scroller) return () => {
  };
  const panel = scroller;
  const update = () => el.style.setProperty("--room", `${panel.clientHeight - 2 * MARGIN}px`);
  const observer = new ResizeObserver(update);
  observer.observe(panel);
  update();
  return () => observer.disconnect();
}
function isNarrow({ el }) {
  return el.clientWidth < 700;
}
function isOwnPage() {
  return document.getElementById("rendered_cells") !== null && document.title === "cleaner";
}
var OURS = { "data-lm-suppress-shortcuts": "true" };

// src/answers.ts
function take(app, answer, buffers) {
  const asked = app.channel.settle(answer.id, "clock" in answer ? answer.clock : void 0);
  if (asked && app.state.isSilent) app.set({ isSilent: false });
  if ("since" in answer && answer.kind !== "page" && hasMissed(app.state, answer)) app.isLost = true;
  switch (answer.kind) {
    case "lists":
      return app.set({ rows: answer.rows });
    case "figures":
      return app.set({ figures: answer });
    case "page":
      return takePage(app, answer, buffers, asked);
    case "done":
    case "error":
      return takeDone(app, answer, asked);
    case "summary":
      app.set({ ...withStatus(app.state, answer), summary: answer.lines });
      break;
    case "large":
    case "typical":
      takeLarge(app, answer, buffers);
      break;
    default:
      return;
  }
  resync(app);
}
function takePage(app, page, buffers, asked) {
  if (app.state.status && page.version <= app.state.status.version && app.state.page) {
    if (!asked) return;
    if (page.clock < app.state.status.clock) return loseTrack(app);
  }
  const urls = /* @__PURE__ */ new Map();
  for (const card of page.cards) {
    const buffer = card.buffer === void 0 ? void 0 : buffers[card.buffer];
    if (buffer) urls.set(card.path, dataUrl(buffer));
  }
  const isOurs = asked !== void 0 && app.toLast.delete(asked.id);
  const state = asked ? settled(app.state, asked.id) : app.state;
  const { unconfirmed, choosing } = app.state;
  const behind = asked && app.behind.get(asked.id);
  const next = withPage(state, page, urls, isOurs);
  app.set({ ...behind ? behindCard(next, behind) : next, isSilent: false });
  if (choosing && !app.state.choosing) listenAfterPause(app);
  if (unconfirmed.size > 0) showUnsaved(app, unconfirmed);
  if (hasFocus(app)) app.focus();
  runHeld(app);
}
function behindCard(state, path) {
  const at = pathsOf(state).indexOf(path);
  return at < 0 ? state : placed(state, at + 1, false);
}
function runHeld(app) {
  if (!app.channel.isTurning()) for (const key of app.held.splice(0)) key();
}
function showUnsaved(app, unconfirmed) {
  const unsaved = pathsOf(app.state).filter(
    (path) => unconfirmed.has(path) && app.state.cards.get(path)?.action === ""
  );
  const first = pathsOf(app.state).indexOf(unsaved[0] ?? "");
  const count = unsaved.length === 1 ? "1 decision was not saved." : `${unsaved.length} decisions were not saved.`;
  const outcome = unsaved.length === 0 ? "Every decision was saved." : count;
  const notice = `The kernel answers again, and the page shows what is saved. ${outcome}`;
  app.set({ ...first >= 0 ? placed(app.state, first, false) : {}, notice, announced: notice });
}
function hasFocus({ el }) {
  const focused = document.activeElement;
  return focused === document.body || el.contains(focused) && !focused?.closest("input, dialog");
}
function takeDone(app, answer, asked) {
  const refused = answer.kind === "error" ? app.state.underway.find((each) => each.id === asked?.id) : void 0;
  if (refused) app.held = [];
  const before = cursorPath(app.state);
  let state = withStatus(asked ? settled(app.state, asked.id) : app.state, answer);
  const at = answer.kind === "done" ? asked ? answer.at : "" : refused?.paths[0] ?? "";
  const position = pathsOf(state).indexOf(at);
  if (at && position >= 0) state = placed(state, position, false);
  const notice = answer.kind === "error" ? answer.message : answer.note || state.notice;
  app.set({ ...state, isSilent: false, notice, ...notice ? { announced: notice } : {} });
  if (cursorPath(app.state) !== before && hasFocus(app)) app.focus();
  resync(app);
  runHeld(app);
}
function takeLarge(app, answer, buffers) {
  app.set(withStatus(app.state, answer));
  const { large } = app.state;
  if (large?.path !== answer.path) return;
  if (answer.kind === "typical") {
    const compared = answer.images.flatMap(({ buffer, ...image }) => {
      const data = buffers[buffer];
      return data ? [{ ...image, url: dataUrl(data) }] : [];
    });
    app.set({ large: { ...large, compared } });
  } else {
    const data = buffers[0] ? new Blob([buffers[0]], { type: "image/jpeg" }) : null;
    app.set({ large: { ...large, url: data ? URL.createObjectURL(data) : "", error: answer.error } });
  }
}
function giveUp(app, asked) {
  app.toLast.delete(asked.id);
  app.behind.delete(asked.id);
  app.held = [];
  if (SHOWN_AT_ONCE.has(asked.kind) || TURNING.has(asked.kind)) app.isLost = true;
  if (SHOWN_AT_ONCE.has(asked.kind)) app.set({ ...givenUp(app.state, asked.id), isSilent: true });
  else if (BESIDES.has(asked.kind)) app.set({ isSilent: true });
  else {
    const safe = app.state.unconfirmed.size === 0 ? " Every saved decision is safe." : "";
    app.set({ isSilent: true, notice: `No answer from the kernel to “${asked.kind}”.${safe}` });
  }
}
var BESIDES = /* @__PURE__ */ new Set(["news", "place", "large", "typical", "summary", "figures"]);
function resync(app) {
  if (!app.isLost || !app.state.page || app.channel.isTurning()) return;
  app.isLost = false;
  askToFit(app);
}
function askToFit(app) {
  const { state } = app;
  const last = isAtEnd(state) ? pathsOf(state).at(-1) ?? "" : "";
  const id = app.channel.ask("fit", { ...wanted(app), at: last || cursorPath(state) });
  if (last) app.behind.set(id, last);
}
function loseTrack(app) {
  app.isLost = true;
  resync(app);
}
function dataUrl(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if ("toBase64" in bytes) return `data:image/jpeg;base64,${bytes.toBase64()}`;
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return `data:image/jpeg;base64,${btoa(text)}`;
}

// src/channel.ts
function openChannel({ send, onGiveUp, patience, now }) {
  const pending = /* @__PURE__ */ new Map();
  let lastId = Math.floor(Math.random() * 2 ** 40);
  let offset = Number.NEGATIVE_INFINITY;
  function giveUp2(id) {
    const asked = take2(id);
    if (asked) onGiveUp(asked);
  }
  function take2(id) {
    const asked = pending.get(id);
    if (!asked) return void 0;
    clearTimeout(asked.timer);
    pending.delete(id);
    return asked;
  }
  return {
    ask(kind, fields) {
      lastId += 1;
      const id = lastId;
      pending.set(id, { id, kind, since: now(), timer: setTimeout(() => giveUp2(id), patience) });
      const until = DECIDING.has(kind) ? { until: Math.floor(now() + offset + patience) - 1 } : {};
      try {
        send({ kind, id, ...fields, ...until });
      } catch (error) {
        console.error(error);
        setTimeout(() => giveUp2(id), 0);
      }
      return id;
    },
    settle(id, clock) {
      if (clock !== void 0) offset = Math.max(offset, clock - now());
      return id === null ? void 0 : take2(id);
    },
    waiting: () => [...pending.values()],
    isTurning: () => [...pending.values()].some((asked) => TURNING.has(asked.kind)),
    close() {
      for (const asked of pending.values()) clearTimeout(asked.timer);
      pending.clear();
    }
  };
}

// node_modules/preact/jsx-runtime/dist/jsxRuntime.module.js
var f2 = 0;
function u2(e2, t2, n2, o2, i2, u3) {
  t2 || (t2 = {});
  var a2, c2, p2 = t2;
  if ("ref" in p2) for (c2 in p2 = {}, t2) "ref" == c2 ? a2 = t2[c2] : p2[c2] = t2[c2];
  var l2 = { type: e2, props: p2, key: n2, ref: a2, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: void 0, __v: --f2, __i: -1, __u: 0, __source: i2, __self: u3 };
  if ("function" == typeof e2 && (a2 = e2.defaultProps)) for (c2 in a2) void 0 === p2[c2] && (p2[c2] = a2[c2]);
  return l.vnode && l.vnode(l2), l2;
}

// src/bars/footer.tsx
function Footer({ app, state }) {
  const count = state.selected.size;
  return /* @__PURE__ */ u2("div", { class: "cleaner-footer", children: [
    /* @__PURE__ */ u2(
      "div",
      {
        ...OURS,
        class: "cleaner-keys",
        role: "toolbar",
        "aria-label": "Actions",
        onWheel: (event) => {
          event.currentTarget.scrollLeft += event.deltaY;
        },
        children: offers(state).map(({ command, key, text, isOff }) => /* @__PURE__ */ k(
          "button",
          {
            ...OURS,
            type: "button",
            key: command,
            "data-tool": command,
            "aria-disabled": isOff,
            onMouseDown: keepFocus,
            onClick: () => run(app, command)
          },
          /* @__PURE__ */ u2("kbd", { children: key }),
          " ",
          text
        ))
      }
    ),
    count > 0 && /* @__PURE__ */ u2("strong", { class: "cleaner-selected", children: [
      count,
      " selected"
    ] }),
    /* @__PURE__ */ u2(Pages, { app, state }),
    /* @__PURE__ */ u2("span", { class: "cleaner-saved", children: saved(state) })
  ] });
}
function keepFocus(event) {
  event.preventDefault();
}
function Pages({ app, state: { page, tab } }) {
  if (!page || page.pages < 2) return null;
  const isHidden = tab === "figures";
  return /* @__PURE__ */ u2("span", { class: "cleaner-pages", children: [
    /* @__PURE__ */ u2(Turn, { app, by: -1, text: "‹", name: "Previous page", isOff: isHidden || page.page === 0 }),
    /* @__PURE__ */ u2("span", { class: "cleaner-place", children: [
      "page ",
      page.page + 1,
      " of ",
      page.pages
    ] }),
    /* @__PURE__ */ u2(Turn, { app, by: 1, text: "›", name: "Next page", isOff: isHidden || page.page + 1 >= page.pages })
  ] });
}
function Turn({ app, by, text, name, isOff }) {
  return /* @__PURE__ */ u2(
    "button",
    {
      ...OURS,
      type: "button",
      "aria-label": name,
      title: name,
      "aria-disabled": isOff,
      onMouseDown: keepFocus,
      onClick: () => !isOff && turn(app, by),
      children: text
    }
  );
}
function saved(state) {
  const [lost, underway] = [state.unconfirmed.size, new Set(state.underway.map(({ id }) => id)).size];
  if (lost > 0) return `${lost} not confirmed`;
  return underway > 0 ? `saving ${underway} …` : "saved ✓";
}

// src/bars/header.tsx
function Header({ app, state, page }) {
  const row = state.rows.find((each) => each.label === page.label);
  const Title = isOwnPage() ? "h1" : "h2";
  const filters = setFilters(state, page);
  return /* @__PURE__ */ u2("div", { class: `cleaner-header${state.hasFilters ? " cleaner-with-filters" : ""}`, children: [
    /* @__PURE__ */ u2(
      "button",
      {
        ...OURS,
        type: "button",
        class: "cleaner-menu",
        "aria-label": "Lists",
        "aria-expanded": isNarrow(app) ? state.hasDrawer : !state.isFolded,
        onClick: () => app.set(isNarrow(app) ? { hasDrawer: !state.hasDrawer } : { isFolded: !state.isFolded }),
        children: "☰"
      }
    ),
    /* @__PURE__ */ u2(Title, { class: "cleaner-title", title: row?.name, children: row?.name ?? page.label }),
    /* @__PURE__ */ u2("span", { class: "cleaner-meta", title: meta(page, row), children: meta(page, row) }),
    /* @__PURE__ */ u2(
      "button",
      {
        ...OURS,
        type: "button",
        class: `cleaner-filter-button${filters > 0 ? " cleaner-set" : ""}`,
        "aria-expanded": state.hasFilters,
        onClick: () => app.set({ hasFilters: !state.hasFilters }),
        children: filters > 0 ? `Filter · ${filters}` : "Filter"
      }
    ),
    /* @__PURE__ */ u2(Filters, { app, state, page }),
    /* @__PURE__ */ u2("span", { class: "cleaner-counts", title: [counts(state), timeLeft(state)].filter(Boolean).join("\n"), children: counts(state) }),
    /* @__PURE__ */ u2(SizeSlider, { app, state }),
    /* @__PURE__ */ u2(Reviewer, { app, state }),
    /* @__PURE__ */ u2(
      "button",
      {
        ...OURS,
        type: "button",
        class: "cleaner-help-button",
        "aria-label": "Keys",
        onClick: () => app.set({ hasHelp: true }),
        children: "?"
      }
    )
  ] });
}
function number(count) {
  return count.toLocaleString("en");
}
function meta(page, row) {
  const kept = row?.kept ?? page.shown;
  let of = row?.scored && row.scored > kept ? `${number(kept)} worst of ${number(row.scored)}` : `${number(kept)} image${kept === 1 ? "" : "s"}`;
  if (isOfIssues(page.list) && page.splits.length > 1) of += " of all splits";
  const shown = page.shown === kept ? of : `${number(page.shown)} shown · ${of}`;
  return row?.otherwise ? `${shown} · ${number(row.otherwise)} predicted otherwise` : shown;
}
function counts(state) {
  const { status } = state;
  if (!status) return "";
  const { decided, kept, changed } = status.counts;
  const parts = [`${number(decided)} of ${number(kept)} here`];
  if (decided > 0) parts.push(`${Math.round(100 * changed / decided)} % changed`);
  return parts.join(" · ");
}
function timeLeft({ status }) {
  if (!status || status.seconds === null) return void 0;
  const { decided, kept, scan_decided: scanDecided, scan_kept: scanKept } = status.counts;
  const [here, all] = [kept - decided, scanKept - scanDecided].map((left) => duration(left * (status.seconds ?? 0)));
  return `${status.seconds.toFixed(1)} s each; left: ${here} here, ${all} in all`;
}
function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
function canFilterGuesses(state, page) {
  return state.task !== "other" && hasPredictions(page);
}
function setFilters(state, page) {
  const isSet = [
    page.show !== "all",
    canFilterGuesses(state, page) && page.predicted !== "",
    page.list !== "audit" && orderOf(page) !== "loss",
    page.text !== ""
  ];
  return isSet.filter(Boolean).length;
}
function orderOf({ list, order }) {
  return isOfIssues(list) && order === "confidence" ? "loss" : order;
}
function Filters({ app, state, page }) {
  const hasLabels = state.task !== "other";
  const nameOf = (label) => label === ABSENT ? `no ${page.label}` : label;
  const labels = /* @__PURE__ */ new Set([...page.predictions, ...page.predicted ? [page.predicted] : []]);
  const actions = Object.entries(WORDS).filter(([action]) => hasLabels || action !== "relabel");
  const shows = [["all", "All"], ["undecided", "Undecided"], ["decided", "Reviewed"], ...actions];
  const orders = [
    ["loss", "Worst first"],
    ...hasLabels && !isOfIssues(page.list) ? [["confidence", "Least confident"]] : [],
    ["name", "By name"]
  ];
  const predictions = [["", "Predicted: any"], ...[...labels].map((label) => [label, `Predicted: ${nameOf(label)}`])];
  return /* @__PURE__ */ u2("span", { class: "cleaner-filters", children: [
    /* @__PURE__ */ u2(Choice, { name: "Show", options: shows, value: page.show, take: (show) => filter(app, { show }) }),
    canFilterGuesses(state, page) && /* @__PURE__ */ u2(
      Choice,
      {
        name: "Predicted",
        options: predictions,
        value: page.predicted,
        take: (predicted) => filter(app, { predicted })
      }
    ),
    page.list !== "audit" && /* @__PURE__ */ u2(Choice, { name: "Order", options: orders, value: orderOf(page), take: (order) => filter(app, { order }) }),
    /* @__PURE__ */ u2(
      TextField,
      {
        name: "Part of the path",
        value: page.text,
        placeholder: "path",
        isAsked: isAsked(app, "filter"),
        take: (text) => filter(app, { text })
      }
    )
  ] });
}
function Choice({ name, options, value, take: take2 }) {
  const isSet = value !== options[0]?.[0];
  return /* @__PURE__ */ u2(
    "select",
    {
      ...OURS,
      class: isSet ? "cleaner-set" : "",
      "aria-label": name,
      value,
      onChange: (event) => take2(event.currentTarget.value),
      children: options.map(([option, text]) => /* @__PURE__ */ u2("option", { value: option, children: text }, option))
    }
  );
}
var TextField = class extends C {
  input = M();
  componentDidUpdate() {
    const input = this.input.current;
    if (input && document.activeElement !== input && !this.props.isAsked) input.value = this.props.value;
  }
  render({ name, value, placeholder, take: take2 }) {
    return /* @__PURE__ */ u2("form", { class: "cleaner-form", action: "/search", onSubmit: (event) => event.preventDefault(), children: /* @__PURE__ */ k(
      "input",
      {
        ...OURS,
        ref: this.input,
        type: "text",
        class: value ? "cleaner-set" : "",
        "aria-label": name,
        autocomplete: "off",
        maxLength: 4096,
        placeholder,
        key: value,
        defaultValue: value,
        onChange: (event) => event.currentTarget.value !== value && take2(event.currentTarget.value),
        onKeyDown: (event) => {
          if (event.key !== "Enter" || event.isComposing) return;
          event.stopPropagation();
          event.preventDefault();
          event.currentTarget.blur();
        }
      }
    ) });
  }
};
function isAsked(app, kind) {
  return app.channel.waiting().some((asked) => asked.kind === kind);
}
function SizeSlider({ app, state }) {
  return /* @__PURE__ */ u2(
    "input",
    {
      ...OURS,
      type: "range",
      class: "cleaner-size",
      "aria-label": "Size of the pictures",
      title: "Size of the pictures",
      min: SIZES.least,
      max: SIZES.most,
      step: SIZES.step,
      value: state.size,
      onInput: (event) => {
        const size = Number(event.currentTarget.value);
        saveSize(size);
        app.set({ size });
      },
      onPointerDown: () => addEventListener("pointerup", () => app.focus(), { once: true })
    }
  );
}
function Reviewer({ app, state }) {
  return /* @__PURE__ */ u2("span", { class: "cleaner-reviewer", title: "Who decides, for the manifest", children: /* @__PURE__ */ u2(
    TextField,
    {
      name: "Reviewer",
      value: state.status?.reviewer ?? "",
      placeholder: "reviewer",
      isAsked: isAsked(app, "reviewer"),
      take: (name) => app.channel.ask("reviewer", { name })
    }
  ) });
}

// src/bars/help.tsx
var Help = class extends C {
  dialog = M();
  componentDidMount() {
    this.dialog.current?.showModal();
  }
  close = () => {
    this.props.app.set({ hasHelp: false });
    this.props.app.focus();
  };
  render({ state }) {
    const rows = keysOf(state.task, state.page?.list).map(({ keys, shown, help }) => [
      shown ?? keys.join(", "),
      help
    ]);
    return /* @__PURE__ */ u2(
      "dialog",
      {
        ...OURS,
        class: "cleaner-help",
        ref: this.dialog,
        "aria-label": "Keys",
        onClose: this.close,
        onKeyDown: (event) => event.stopPropagation(),
        children: [
          /* @__PURE__ */ u2("h2", { children: "Keys, while the images have the focus" }),
          /* @__PURE__ */ u2("table", { children: /* @__PURE__ */ u2("tbody", { children: [["← → ↑ ↓", "move; with Shift select what is passed"], ...rows].map(([key, help]) => /* @__PURE__ */ u2("tr", { children: [
            /* @__PURE__ */ u2("th", { scope: "row", children: /* @__PURE__ */ u2("kbd", { children: key }) }),
            /* @__PURE__ */ u2("td", { children: help })
          ] }, key)) }) }),
          /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => this.dialog.current?.close(), children: "Close" })
        ]
      }
    );
  }
};

// src/bars/notices.tsx
function Notices({ app, state }) {
  const { status } = state;
  const warnings = (status?.warnings ?? []).slice(state.closedWarnings);
  return /* @__PURE__ */ u2("div", { ...OURS, class: "cleaner-notices", children: [
    /* @__PURE__ */ u2(Unconfirmed, { state }),
    state.isSilent && state.unconfirmed.size === 0 && /* @__PURE__ */ u2("div", { ...OURS, tabIndex: -1, class: "cleaner-alert", role: "alert", children: [
      "The kernel has not answered for a while: it is busy, or the connection is lost.",
      /* @__PURE__ */ u2(Reload, {})
    ] }),
    state.notice && /* @__PURE__ */ u2("div", { ...OURS, tabIndex: -1, class: "cleaner-alert", role: "alert", children: [
      state.notice,
      /* @__PURE__ */ u2(Close, { app, change: { notice: "" } })
    ] }),
    status?.edited && /* @__PURE__ */ u2("div", { ...OURS, tabIndex: -1, class: "cleaner-alert cleaner-edited", role: "alert", children: [
      /* @__PURE__ */ u2("p", { children: status.edited }),
      /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => settle(app, "restore"), children: "Restore the decisions" }),
      /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => settle(app, "accept"), children: "Accept the file as it is" })
    ] }),
    warnings.length > 0 && /* @__PURE__ */ u2("div", { ...OURS, tabIndex: -1, class: "cleaner-alert cleaner-warnings", role: "status", children: [
      warnings.map((text) => /* @__PURE__ */ u2("p", { children: text }, text)),
      /* @__PURE__ */ u2(Close, { app, change: { closedWarnings: status?.warnings.length ?? 0 } })
    ] })
  ] });
}
function settle(app, kind) {
  app.channel.ask(kind, {});
  app.focus();
}
function Unconfirmed({ state }) {
  const count = state.unconfirmed.size;
  if (count === 0) return null;
  const decisions = count === 1 ? "1 decision is" : `${count} decisions are`;
  return /* @__PURE__ */ u2("div", { ...OURS, tabIndex: -1, class: "cleaner-alert", role: "alert", children: [
    decisions,
    " not confirmed: the kernel did not answer. What arrives there late is refused. The page asks again as soon as the kernel answers.",
    /* @__PURE__ */ u2(Reload, {})
  ] });
}
function Reload() {
  return /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => location.reload(), children: "Reload the page" });
}
function Close({ app, change }) {
  const close = () => {
    app.set(change);
    app.focus();
  };
  return /* @__PURE__ */ u2("button", { ...OURS, type: "button", class: "cleaner-close", "aria-label": "Close", onClick: close, children: "✕" });
}

// src/chooser/place.ts
var SIZE = { width: 260, height: 320 };
var GAP2 = 3;
var LEAST = 140;
var TOOLS = 60;
function placeAt(picture, frame) {
  const { width, height } = SIZE;
  const [first, last] = [frame.top + GAP2, frame.bottom - GAP2];
  const left = Math.max(frame.left + GAP2, Math.min(picture.left, frame.right - width - GAP2));
  const [below, above] = [last - (picture.bottom + GAP2), picture.top - GAP2 - first];
  if (below >= height) return { top: picture.bottom + GAP2, left, height };
  if (above >= height) return { top: picture.top - GAP2 - height, left, height };
  const top = Math.max(first, Math.min(picture.top, last - height));
  const beside = { top, height: Math.min(height, last - top) };
  const [after, before] = [picture.right + GAP2, picture.left - GAP2 - width];
  if (after + width + GAP2 <= frame.right) return { ...beside, left: after };
  if (before >= frame.left + GAP2) return { ...beside, left: before };
  if (below >= Math.max(above, LEAST)) return { top: picture.bottom + GAP2, left, height: below };
  const most = above >= LEAST ? above : Math.min(height, picture.bottom - TOOLS - first);
  return { top: first, left, height: most };
}

// src/chooser/chooser.tsx
var SHOWN = 100;
function Chooser({ app, state }) {
  const card = shownCard(state, state.choosing?.path ?? "");
  if (!state.choosing || !card) return null;
  return /* @__PURE__ */ u2(Open, { app, state, card }, card.path);
}
var Open = class extends C {
  box = M();
  input = M();
  componentDidMount() {
    this.place();
    this.input.current?.focus({ preventScroll: true });
    document.addEventListener("pointerdown", this.closeOutside, true);
  }
  componentWillUnmount() {
    document.removeEventListener("pointerdown", this.closeOutside, true);
  }
  componentDidUpdate() {
    this.box.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }
  closeOutside = (event) => {
    if (!this.box.current?.contains(event.target)) this.props.app.set({ choosing: null });
  };
  /** At the picture of its card; in the large view its place is fixed. */
  place() {
    const { app, card, state } = this.props;
    const box = this.box.current;
    const picture = app.el.querySelector(`.cleaner-card[data-path="${CSS.escape(card.path)}"] .cleaner-picture`);
    if (!box || !picture || state.large) return;
    const frame = app.el.getBoundingClientRect();
    const [top, bottom] = [Math.max(frame.top, 0), Math.min(frame.bottom, innerHeight)];
    const place = placeAt(picture.getBoundingClientRect(), { left: frame.left, right: frame.right, top, bottom });
    box.style.top = `${place.top - frame.top - app.el.clientTop}px`;
    box.style.left = `${place.left - frame.left - app.el.clientLeft}px`;
    box.style.height = `${place.height}px`;
  }
  found() {
    const { app, state } = this.props;
    return found(choices(app), (label) => label, state.choosing?.typed ?? "");
  }
  /** The probable label that a digit takes while nothing is typed; none where labels themselves begin with digits. */
  numbered(key) {
    const { app, card, state } = this.props;
    if (state.choosing?.typed || !/^[1-5]$/.test(key) || hasDigits(state)) return void 0;
    const label = probable(card)[Number(key) - 1]?.[0];
    return label !== void 0 && choices(app).includes(label) ? label : void 0;
  }
  take(label) {
    const { app, card, state } = this.props;
    const isCursor = card.path === cursorPath(state);
    giveLabel(app, label, isCursor ? targets(state) : [card.path], isCursor);
    app.focus();
  }
  onKey = (event) => {
    const { app, state } = this.props;
    if (event.isComposing || event.keyCode === 229 || !state.choosing) return;
    event.stopPropagation();
    const shown = this.found().slice(0, SHOWN);
    const numbered = event.ctrlKey || event.altKey || event.metaKey ? void 0 : this.numbered(event.key);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const { marked } = state.choosing;
    if (by) app.set({ choosing: { ...state.choosing, marked: Math.min(Math.max(marked + by, 0), shown.length - 1) } });
    else if (event.key === "Escape") {
      app.set({ choosing: null });
      app.focus();
    } else if (numbered !== void 0) {
      if (!event.repeat) this.take(numbered);
    } else if (event.key !== "Enter") return;
    else if (shown[marked] !== void 0) this.take(shown[marked]);
    event.preventDefault();
  };
  digitOf(label) {
    return hasDigits(this.props.state) ? 0 : probable(this.props.card).findIndex(([name]) => name === label) + 1;
  }
  onInput = (event) => {
    const typed = event.target.value;
    const { app, state } = this.props;
    if (state.choosing) app.set({ choosing: { ...state.choosing, typed, marked: 0 } });
  };
  render({ state, card }) {
    const all = this.found();
    const shown = all.slice(0, SHOWN);
    const left = all.length - shown.length;
    const marked = state.choosing?.marked ?? -1;
    const count = card.path === cursorPath(state) ? state.selected.size : 0;
    const what = card.given ? "Label to add or remove" : "New label";
    return /* @__PURE__ */ u2("div", { class: "cleaner-chooser", ref: this.box, onKeyDown: this.onKey, ...OURS, children: [
      /* @__PURE__ */ u2("form", { action: "/search", onSubmit: (event) => event.preventDefault(), children: /* @__PURE__ */ u2(
        "input",
        {
          ...OURS,
          ref: this.input,
          type: "text",
          role: "combobox",
          autocomplete: "off",
          placeholder: "type to find a label",
          "aria-label": `${what} of ${count > 1 ? `${count} images` : card.name}`,
          "aria-expanded": "true",
          "aria-controls": "cleaner-choices",
          "aria-activedescendant": shown[marked] === void 0 ? void 0 : `cleaner-choice-${marked}`,
          value: state.choosing?.typed,
          onInput: this.onInput
        }
      ) }),
      /* @__PURE__ */ u2("div", { ...OURS, id: "cleaner-choices", role: "listbox", "aria-label": "Labels", class: "cleaner-choices", children: [
        shown.map((label, number2) => /* @__PURE__ */ u2(
          Choice2,
          {
            card,
            label,
            number: number2,
            digit: this.digitOf(label),
            isMarked: number2 === marked,
            take: () => this.take(label)
          },
          label
        )),
        left > 0 && /* @__PURE__ */ u2("p", { role: "presentation", children: [
          "and ",
          left,
          " more: type to find them"
        ] }),
        shown.length === 0 && /* @__PURE__ */ u2("p", { role: "presentation", children: "no such label" })
      ] })
    ] });
  }
};
function hasDigits({ vocab }) {
  return vocab.some((label) => /^\d/.test(label));
}
function Choice2({ card, label, number: number2, digit, isMarked, take: take2 }) {
  const sign = card.given ? `${labelsOf(card).includes(label) ? "−" : "+"} ` : "";
  const probability = probable(card).find(([name]) => name === label)?.[1] ?? (label === card.predicted ? card.confidence : null);
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the input has the focus and names the marked one
    /* @__PURE__ */ u2(
      "div",
      {
        role: "option",
        id: `cleaner-choice-${number2}`,
        class: "cleaner-choice",
        "data-label": label,
        "aria-selected": isMarked,
        onClick: (event) => event.detail <= 1 && take2(),
        children: [
          /* @__PURE__ */ u2("span", { class: "cleaner-choice-label", children: [
            sign,
            label
          ] }),
          /* @__PURE__ */ u2("span", { class: "cleaner-faint", children: percent(probability) }),
          digit > 0 && /* @__PURE__ */ u2("kbd", { children: digit })
        ]
      }
    )
  );
}

// src/grid/end.tsx
function End({ app, state }) {
  return isAtEnd(state) ? /* @__PURE__ */ u2(Panel, { app, state }) : null;
}
var Panel = class extends C {
  componentDidMount() {
    this.showLastRow();
  }
  componentDidUpdate(before) {
    if (before.state.summary !== this.props.state.summary) this.showLastRow();
  }
  showLastRow() {
    const images = this.props.app.el.querySelector(".cleaner-images");
    if (images) images.scrollTop = images.scrollHeight;
  }
  render({ app, state }) {
    const next = nextList(state, 1);
    const isLast = isLastPage(state);
    const isOpen = state.rows.some((row) => row.label === state.page?.label && row.decided < row.kept);
    return /* @__PURE__ */ u2("section", { ...OURS, class: "cleaner-end", tabIndex: -1, "aria-label": isLast ? "End of the list" : "End of the page", children: [
      isLast && /* @__PURE__ */ u2(Summary, { lines: state.summary }),
      /* @__PURE__ */ u2("p", { children: [
        !isLast && /* @__PURE__ */ u2("span", { class: "cleaner-end-name", children: "End of the page." }),
        !isLast && /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => turn(app, 1), children: [
          /* @__PURE__ */ u2("kbd", { children: "→" }),
          " next page"
        ] }),
        isLast && next && /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => openNext(app, 1), children: [
          /* @__PURE__ */ u2("kbd", { children: "]" }),
          " ",
          next.name
        ] }),
        isLast && !next && /* @__PURE__ */ u2("span", { children: [
          "Every ",
          isOpen ? "other list" : "image",
          " of this split is decided."
        ] }),
        /* @__PURE__ */ u2("span", { class: "cleaner-faint", children: [
          /* @__PURE__ */ u2("kbd", { children: "←" }),
          " back to the last image"
        ] })
      ] })
    ] });
  }
};
function Summary({ lines }) {
  return /* @__PURE__ */ u2(S, { children: (lines ?? ["…"]).map((line) => {
    const [before, command] = line.split(/(?=cleaner apply )/);
    return /* @__PURE__ */ u2("p", { children: [
      before,
      command && /* @__PURE__ */ u2(Command, { text: command })
    ] }, line);
  }) });
}
var Command = class extends C {
  state = { isCopied: false };
  code = M();
  copy = async () => {
    try {
      await navigator.clipboard.writeText(this.props.text);
      this.setState({ isCopied: true });
    } catch {
      if (this.code.current) getSelection()?.selectAllChildren(this.code.current);
    }
  };
  render({ text }) {
    return /* @__PURE__ */ u2(S, { children: [
      /* @__PURE__ */ u2("code", { ref: this.code, children: text }),
      " ",
      /* @__PURE__ */ u2("button", { ...OURS, type: "button", class: "cleaner-copy", onClick: this.copy, children: this.state.isCopied ? "Copied" : "Copy" })
    ] });
  }
};
var EMPTY = {
  class: "No image was kept of this class.",
  all: "No image was kept of this split.",
  unsure: "No image is decided as unsure.",
  disagreements: "There is no image about which reviewers decided differently.",
  audit: "This split has no audit sample.",
  unreadable: "Every file could be read.",
  issue: "No image has this issue.",
  groups: "There are no copies of this kind."
};
function Empty({ app, state, page }) {
  if (state.cards.size > 0) return null;
  const isFiltered = (state.status?.counts.kept ?? 0) > 0;
  const everything = { show: "all", predicted: "", text: "" };
  return /* @__PURE__ */ u2("section", { ...OURS, class: "cleaner-empty", tabIndex: -1, "aria-label": "No images", children: [
    /* @__PURE__ */ u2("p", { children: isFiltered ? "No image of this list fits the filter." : EMPTY[page.list] }),
    isFiltered && /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => filter(app, everything), children: "Show all" })
  ] });
}

// src/grid/issue.tsx
function IssueCaption({ card, page, hasLabels }) {
  const label = card.given ? labelsOf(card).join(", ") || "no label" : card.label;
  const split = page.splits.length > 1 && card.split ? [/* @__PURE__ */ u2("strong", { children: card.split }, "split")] : [];
  const reason = card.reason ? [/* @__PURE__ */ u2("span", { children: card.reason }, "reason")] : [];
  if (page.list !== "groups")
    return /* @__PURE__ */ u2("div", { class: "cleaner-caption cleaner-issue", children: [
      /* @__PURE__ */ u2("span", { class: "cleaner-issue-label", children: hasLabels && label }),
      /* @__PURE__ */ u2("span", { class: "cleaner-share", children: card.score?.toFixed(2) }),
      /* @__PURE__ */ u2("span", { class: "cleaner-reason", children: [...split, ...reason] })
    ] });
  const size = card.size ? [/* @__PURE__ */ u2("span", { children: card.size.replace(" px", "") }, "size")] : [];
  return /* @__PURE__ */ u2("div", { class: "cleaner-caption cleaner-issue", children: [
    hasLabels && /* @__PURE__ */ u2("span", { class: "cleaner-issue-label", children: label }),
    /* @__PURE__ */ u2("span", { class: "cleaner-reason cleaner-one-line", children: [...split, ...size] }),
    /* @__PURE__ */ u2("span", { class: "cleaner-reason cleaner-one-line", children: card.is_first ? /* @__PURE__ */ u2("strong", { children: "suggested to keep" }) : reason })
  ] });
}

// src/grid/card.tsx
var CardView = class extends C {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((name) => next[name] !== this.props[name]);
  }
  render(props) {
    const { card, page, isAt, isSelected, isUnconfirmed } = props;
    const decision = said(card, card.given);
    return /* @__PURE__ */ u2(
      "div",
      {
        ...OURS,
        role: "gridcell",
        "aria-colindex": props.column,
        "aria-selected": isSelected,
        "aria-busy": props.isBusy,
        "aria-label": described(card, page, props.rankedBy),
        class: `cleaner-card${isAt ? " cleaner-at" : ""}`,
        "data-path": card.path,
        "data-name": card.name,
        "data-decision": card.action,
        "data-unconfirmed": isUnconfirmed,
        tabIndex: isAt ? 0 : -1,
        title: tooltip(props),
        children: [
          /* @__PURE__ */ u2("div", { class: "cleaner-picture", children: [
            props.url ? /* @__PURE__ */ u2("img", { src: props.url, alt: "", draggable: false }) : /* @__PURE__ */ u2("p", { class: "cleaner-broken", children: card.error || "no image" }),
            (isAt || isSelected || props.isPointed) && /* @__PURE__ */ u2(SelectMark, { card, isSelected }),
            card.others.length > 0 && /* @__PURE__ */ u2("div", { class: "cleaner-others", children: opinions(card) }),
            isUnconfirmed && /* @__PURE__ */ u2("div", { class: "cleaner-badge", children: "! not confirmed" }),
            decision && !isUnconfirmed && /* @__PURE__ */ u2("div", { class: "cleaner-badge", children: /* @__PURE__ */ u2("span", { class: "cleaner-what", children: decision }) }),
            (isAt || props.isPointed) && /* @__PURE__ */ u2(Tools, { ...props })
          ] }),
          props.lines > 0 && (isOfIssues(page.list) ? /* @__PURE__ */ u2(IssueCaption, { ...props }) : /* @__PURE__ */ u2(Caption, { ...props }))
        ]
      }
    );
  }
};
function tooltip({ card, page, rankedBy }) {
  const decided = said(card, card.given);
  const when = card.decided_at ? new Date(card.decided_at).toLocaleString() : "";
  const by = decided ? [decided, card.reviewer && `by ${card.reviewer}`, when].filter(Boolean).join(" ") : "";
  const says = predictionOf(card) && `predicted ${predictionOf(card)} ${percent(card.confidence)}`;
  const given = card.given ? card.given.join(", ") : card.label;
  const loss = page.list === "audit" || !card.loss ? "" : `${rankedBy} ${card.loss}`;
  const others = card.others.length > 0 ? `Disagrees: ${opinions(card)}` : "";
  const issue = [card.split ?? "", reasonOf(card), scoreOf(card)];
  return [card.path, card.size, given && `given ${given}`, ...issue, says, loss, by, others, card.note].filter(Boolean).join("\n");
}
function opinions(card) {
  return `≠ ${card.others.map((other) => `${other.reviewer || "somebody"}: ${said(other, card.given)}`).join(", ")}`;
}
function SelectMark({ card, isSelected }) {
  return /* @__PURE__ */ u2(
    "button",
    {
      ...OURS,
      type: "button",
      class: "cleaner-select",
      "data-tool": "select",
      tabIndex: -1,
      "aria-pressed": isSelected,
      "aria-label": `Select ${card.name}`,
      children: isSelected ? "✓" : ""
    }
  );
}
function Tools({ card, hasLabels, otherLabel: otherLabel2, page }) {
  const tools = [["keep", "✓", "Keep"]];
  if (hasLabels && !card.given && card.predicted && card.predicted !== card.label) {
    tools.push(["predicted", `⇒ ${card.predicted}`, `Relabel to ${card.predicted}`]);
  }
  if (otherLabel2) tools.push(["otherLabel", `⇒ ${otherLabel2}`, `Relabel to ${otherLabel2}`]);
  if (card.given && page.list !== "unreadable" && !isOfIssues(page.list))
    tools.push(["toggle", `± ${card.label}`, `Add or remove ${card.label}`]);
  if (hasLabels && page.list !== "unreadable") tools.push(["relabel", "…", "Other label of"]);
  tools.push(["delete", "✕", "Delete"], ["unsure", "?", "Unsure about"]);
  if (card.action) tools.push(["undo", "↶", "Take back the decision about"]);
  return /* @__PURE__ */ u2("div", { class: "cleaner-tools", children: tools.map(([tool, text, words]) => /* @__PURE__ */ k(
    "button",
    {
      ...OURS,
      type: "button",
      key: tool,
      "data-tool": tool,
      tabIndex: -1,
      "aria-label": `${words} ${card.name}`,
      title: words
    },
    text
  )) });
}
function Caption({ card, lines, page }) {
  if (card.given) return /* @__PURE__ */ u2(Labels, { card, page });
  const isMixed = page.list !== "class";
  return /* @__PURE__ */ u2("div", { class: `cleaner-caption${isMixed ? " cleaner-mixed" : ""}`, "data-lines": lines, children: [
    isMixed && /* @__PURE__ */ u2("span", { class: "cleaner-given", children: card.label }),
    hasPredictions(page) && /* @__PURE__ */ u2("span", { class: "cleaner-predicted", children: card.predicted || "–" }),
    /* @__PURE__ */ u2("span", { class: "cleaner-share", children: percent(card.confidence) })
  ] });
}
function Labels({ card, page }) {
  const [given, now] = [card.given ?? [], labelsOf(card)];
  const asked = page.list === "audit" ? card.asked ?? [] : page.list === "unreadable" ? [] : [card.label];
  const all = [.../* @__PURE__ */ new Set([...asked, ...given, ...now])];
  return /* @__PURE__ */ u2("div", { class: "cleaner-caption cleaner-labels", children: [
    all.map((label) => {
      const [was, is] = [given.includes(label), now.includes(label)];
      const state = is ? was ? "has" : "added" : was ? "removed" : "lacks";
      const text = { has: label, added: `+ ${label}`, removed: `− ${label}`, lacks: `no ${label}` }[state];
      return /* @__PURE__ */ u2("span", { class: `cleaner-chip${asked.includes(label) ? " cleaner-open" : ""}`, "data-state": state, children: text }, label);
    }),
    predictionOf(card) && /* @__PURE__ */ u2("span", { class: "cleaner-share", children: [
      "⇒ ",
      predictionOf(card),
      " ",
      percent(card.confidence)
    ] })
  ] });
}

// src/grid/groups.tsx
function Groups({ state, page, columns }) {
  const groups = groupsOf(state.cards.values());
  const positions = new Map([...state.cards.keys()].map((path, position) => [path, position]));
  return /* @__PURE__ */ u2(S, { children: groups.map((group) => {
    const [first] = group;
    const name = first ? groupName(first) : "";
    return /* @__PURE__ */ u2(
      "div",
      {
        role: "rowgroup",
        class: "cleaner-group",
        "aria-label": name,
        style: { "--span": Math.min(group.length, columns) },
        children: [
          /* @__PURE__ */ u2("p", { class: "cleaner-group-name", "aria-hidden": "true", children: name }),
          /* @__PURE__ */ u2("div", { role: "row", class: "cleaner-row", children: group.map(({ path }, column) => cardOf(state, page, path, column, positions.get(path) ?? 0)) })
        ]
      },
      first?.group
    );
  }) });
}

// src/grid/grid.tsx
function Grid({ app, state, page }) {
  const { columns, width, height, text } = pageLayout(state);
  const hasGroups = page.list === "groups";
  const counts2 = { "aria-rowcount": Math.ceil(page.shown / columns), "aria-colcount": columns };
  return /* @__PURE__ */ u2(
    "div",
    {
      role: "grid",
      class: `cleaner-grid${hasGroups ? " cleaner-groups" : ""}`,
      "aria-label": gridName(state, page),
      "aria-multiselectable": "true",
      ...!hasGroups && counts2,
      style: {
        "--columns": columns,
        "--width": `${width}px`,
        "--height": `${height}px`,
        "--text": `${text}px`,
        "--lines": Math.floor(text / LINE),
        "--gap": `${GAP}px`,
        "--frame": `${FRAME}px`,
        "--heading": `${LINE}px`
      },
      onClick: (event) => onClick(app, event),
      onDblClick: (event) => pictureAt(event) && openLarge(app),
      onPointerOver: (event) => app.state.pointed !== pathAt(event) && app.set({ pointed: pathAt(event) }),
      onPointerLeave: () => app.set({ pointed: "" }),
      children: hasGroups ? /* @__PURE__ */ u2(Groups, { state, page, columns }) : rowsOf(state, page, columns)
    }
  );
}
function rowsOf(state, page, columns) {
  const paths = [...state.cards.keys()];
  const rows = Array.from(
    { length: Math.ceil(paths.length / columns) },
    (_2, row) => paths.slice(row * columns, (row + 1) * columns)
  );
  return rows.map((row, number2) => (
    // biome-ignore lint/a11y/useFocusableInteractive: the cells take the focus
    /* @__PURE__ */ u2("div", { role: "row", class: "cleaner-row", "aria-rowindex": firstRow(page, columns) + number2, children: row.map((path, column) => cardOf(state, page, path, column, number2 * columns + column)) }, row[0])
  ));
}
function cardOf(state, page, path, column, position) {
  const card = shownCard(state, path);
  if (!card) return null;
  return /* @__PURE__ */ u2(
    CardView,
    {
      card,
      url: state.urls.get(path),
      page,
      rankedBy: state.rankedBy,
      hasLabels: state.task !== "other",
      lines: Math.floor(pageLayout(state).text / LINE),
      otherLabel: otherLabel(state, path) ?? "",
      column: column + 1,
      isAt: state.at === position,
      isSelected: state.selected.has(path),
      isPointed: state.pointed === path,
      isBusy: isUnderway(state, path),
      isUnconfirmed: state.unconfirmed.has(path)
    },
    path
  );
}
function firstRow(page, columns) {
  return Math.floor(page.first / columns) + 1;
}
function gridName(state, page) {
  const name = state.rows.find((row) => row.label === page.label)?.name ?? page.label;
  return `Images of ${page.split} / ${name}, page ${page.page + 1} of ${page.pages}`;
}
function pathAt(event) {
  return event.target.closest(".cleaner-card")?.dataset.path ?? "";
}
function pictureAt(event) {
  const target = event.target;
  return target.closest(".cleaner-picture") !== null && target.closest("button") === null;
}
function onClick(app, event) {
  const path = pathAt(event);
  if (!path) return;
  const tool = event.target.closest("[data-tool]")?.dataset.tool;
  const toggle = tool === "select" || event.ctrlKey || event.metaKey;
  if (!tool || toggle) return point(app, path, event.shiftKey && !toggle, toggle);
  point(app, path, false, false);
  const card = shownCard(app.state, path);
  const label = card && app.state.page ? toggledLabel(card, app.state.page) : void 0;
  if (tool === "relabel") choose(app, path);
  else if (tool === "otherLabel") giveLabel(app, otherLabel(app.state, path) ?? "", [path], false);
  else if (tool === "toggle" && label) giveLabel(app, label, [path], false);
  else decide(app, tool, "", [path], false);
}

// src/large/zoom.ts
var MOST = 10;
var STEP = 1.0015;
function fitted(image, frame) {
  const scale = Math.min(frame.width / image.width, frame.height / image.height, MOST);
  return { scale, x: 0, y: 0 };
}
function zoomed(view, deltaY, pointer, image, frame) {
  const least = fitted(image, frame).scale;
  const scale = Math.min(Math.max(view.scale * STEP ** -deltaY, least), Math.max(MOST, least));
  const by = scale / view.scale;
  const next = { scale, x: pointer.x - (pointer.x - view.x) * by, y: pointer.y - (pointer.y - view.y) * by };
  return held(next, image, frame);
}
function dragged(view, x2, y2, image, frame) {
  return held({ ...view, x: view.x + x2, y: view.y + y2 }, image, frame);
}
function held(view, image, frame) {
  const [roomX, roomY] = [room(view.scale * image.width, frame.width), room(view.scale * image.height, frame.height)];
  return { ...view, x: Math.min(Math.max(view.x, -roomX), roomX), y: Math.min(Math.max(view.y, -roomY), roomY) };
}
function room(image, frame) {
  return Math.max(0, (image - frame) / 2);
}

// src/large/picture.tsx
var Picture = class extends C {
  state = { view: null };
  frame = M();
  image = M();
  resized = new ResizeObserver(() => this.fit());
  held = null;
  componentDidMount() {
    if (this.frame.current) this.resized.observe(this.frame.current);
    this.frame.current?.addEventListener("wheel", this.onWheel, { passive: false });
  }
  componentWillUnmount() {
    this.resized.disconnect();
  }
  sizes() {
    const [image, frame] = [this.image.current, this.frame.current];
    if (!image?.naturalWidth || !frame) return null;
    return {
      image: { width: image.naturalWidth, height: image.naturalHeight },
      frame: { width: frame.clientWidth, height: frame.clientHeight }
    };
  }
  fit = () => {
    const sizes = this.sizes();
    if (sizes) this.setState({ view: fitted(sizes.image, sizes.frame) });
  };
  onWheel = (event) => {
    const [sizes, view] = [this.sizes(), this.state.view];
    const box = this.frame.current?.getBoundingClientRect();
    if (!sizes || !view || !box) return;
    event.preventDefault();
    const pointer = { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
    this.setState({ view: zoomed(view, event.deltaY, pointer, sizes.image, sizes.frame) });
  };
  onDown = (event) => {
    this.held = { x: event.clientX, y: event.clientY };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  onMove = (event) => {
    const [sizes, view] = [this.sizes(), this.state.view];
    if (!this.held || !sizes || !view) return;
    const [x2, y2] = [event.clientX - this.held.x, event.clientY - this.held.y];
    this.held = { x: event.clientX, y: event.clientY };
    this.setState({ view: dragged(view, x2, y2, sizes.image, sizes.frame) });
  };
  onUp = () => {
    this.held = null;
  };
  render({ url, alt, isBusy }) {
    const { view } = this.state;
    const sizes = view && this.sizes();
    const style = view && sizes ? {
      width: `${view.scale * sizes.image.width}px`,
      height: `${view.scale * sizes.image.height}px`,
      transform: `translate(-50%, -50%) translate(${view.x}px, ${view.y}px)`
    } : {};
    return /* @__PURE__ */ u2(
      "div",
      {
        class: "cleaner-large-picture",
        ref: this.frame,
        "aria-busy": isBusy,
        onPointerDown: this.onDown,
        onPointerMove: this.onMove,
        onPointerUp: this.onUp,
        onPointerCancel: this.onUp,
        onDblClick: this.fit,
        children: /* @__PURE__ */ u2("img", { ref: this.image, src: url, alt, draggable: false, style, onLoad: this.fit })
      }
    );
  }
};

// src/large/large.tsx
var LargeView = class extends C {
  dialog = M();
  componentDidMount() {
    this.dialog.current?.showModal();
    this.dialog.current?.focus();
  }
  onKey = (event) => {
    const target = event.target;
    if (target.closest("input") || target.closest("button") && ["Enter", " "].includes(event.key)) return;
    if (!press(this.props.app, event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  render({ app, state }) {
    const { large } = state;
    if (!large) return null;
    const card = shownCard(state, large.path);
    return /* @__PURE__ */ u2(
      "dialog",
      {
        ...OURS,
        class: "cleaner-large",
        ref: this.dialog,
        tabIndex: -1,
        "aria-label": "Large view",
        onKeyDown: this.onKey,
        onMouseDown: (event) => event.target.closest("button") && event.preventDefault(),
        onCancel: (event) => {
          event.preventDefault();
          closeLarge(app);
        },
        children: [
          card ? /* @__PURE__ */ u2(LargePicture, { state, card }) : /* @__PURE__ */ u2(End, { app, state }),
          /* @__PURE__ */ u2("div", { class: "cleaner-large-side", children: [
            /* @__PURE__ */ u2(Chooser, { app, state }),
            card ? /* @__PURE__ */ u2(Facts, { app, state, card }) : /* @__PURE__ */ u2(Last, { app, state }),
            /* @__PURE__ */ u2(Compared, { images: large.compared })
          ] }),
          /* @__PURE__ */ u2(Notices, { app, state })
        ]
      }
    );
  }
};
function LargePicture({ state, card }) {
  const url = state.large?.url || state.urls.get(card.path);
  const reason = state.large?.error || card.error;
  if (!reason && url) return /* @__PURE__ */ u2(Picture, { url, alt: card.name, isBusy: !state.large?.url }, card.path);
  return /* @__PURE__ */ u2("div", { class: "cleaner-large-picture", children: /* @__PURE__ */ u2("p", { class: "cleaner-broken", children: reason || "no image" }) });
}
function Facts({ app, state, card }) {
  const page = state.page;
  const number2 = page ? page.first + state.at + 1 : 0;
  const given = card.given ? labelsOf(card).join(", ") || "no label" : card.label;
  const hasLoss = page?.list !== "audit" && card.loss !== "";
  return /* @__PURE__ */ u2(S, { children: [
    /* @__PURE__ */ u2("p", { class: "cleaner-large-place", children: [
      /* @__PURE__ */ u2(Step, { app, by: -1, text: "‹", name: "Previous image" }),
      /* @__PURE__ */ u2("span", { children: [
        number2,
        " of ",
        page?.shown
      ] }),
      /* @__PURE__ */ u2(Step, { app, by: 1, text: "›", name: "Next image" }),
      /* @__PURE__ */ u2("button", { ...OURS, type: "button", class: "cleaner-close", onClick: () => closeLarge(app), children: [
        "Close ",
        /* @__PURE__ */ u2("kbd", { children: "Z" })
      ] })
    ] }),
    /* @__PURE__ */ u2("h2", { class: "cleaner-large-name", children: card.path }),
    state.task !== "other" && /* @__PURE__ */ u2(Fact, { name: card.given ? "labels" : "given", value: given }),
    card.given && predictionOf(card) && /* @__PURE__ */ u2(Fact, { name: "predicted", value: `${predictionOf(card)} ${percent(card.confidence)}` }),
    card.split && /* @__PURE__ */ u2(Fact, { name: "split", value: card.split }),
    card.size && /* @__PURE__ */ u2(Fact, { name: "size", value: card.size }),
    reasonOf(card) && /* @__PURE__ */ u2(Fact, { name: page?.list === "groups" ? "copy" : "issue", value: reasonOf(card) }),
    scoreOf(card) && /* @__PURE__ */ u2("p", { class: "cleaner-fact cleaner-faint", children: scoreOf(card) }),
    hasLoss && /* @__PURE__ */ u2(Fact, { name: state.rankedBy, value: card.loss }),
    /* @__PURE__ */ u2(Alternatives, { app, card }),
    /* @__PURE__ */ u2(Decision, { state, card }),
    /* @__PURE__ */ u2(Last, { app, state }),
    card.note && /* @__PURE__ */ u2("p", { class: "cleaner-note", children: card.note }),
    card.others.map((other) => /* @__PURE__ */ u2(Fact, { name: "≠", value: `${other.reviewer || "somebody"}: ${said(other, card.given)}` }, other.reviewer)),
    /* @__PURE__ */ u2("div", { class: "cleaner-large-tools", children: offers(state).filter(({ command }) => !["undo", "nextList", "large"].includes(command)).map(({ command, key, text, isOff }) => /* @__PURE__ */ k(
      "button",
      {
        ...OURS,
        type: "button",
        key: command,
        "data-tool": command,
        "aria-disabled": isOff,
        onClick: () => run(app, command)
      },
      /* @__PURE__ */ u2("kbd", { children: key }),
      " ",
      text
    )) })
  ] });
}
function Step({ app, by, text, name }) {
  return /* @__PURE__ */ u2("button", { ...OURS, type: "button", "aria-label": name, onClick: () => move(app, by), children: text });
}
function Fact({ name, value }) {
  return /* @__PURE__ */ u2("p", { class: "cleaner-fact", children: [
    /* @__PURE__ */ u2("span", { class: "cleaner-faint", children: name }),
    " ",
    /* @__PURE__ */ u2("span", { children: value })
  ] });
}
function Decision({ state, card }) {
  const isUnconfirmed = state.unconfirmed.has(card.path);
  const by = card.reviewer ? ` by ${card.reviewer}` : "";
  const text = isUnconfirmed ? "! not confirmed" : card.action ? `${said(card, card.given)}${by}` : "undecided";
  const busy = isUnderway(state, card.path) ? " (saving)" : "";
  return /* @__PURE__ */ u2("p", { class: "cleaner-large-decision", "data-decision": isUnconfirmed ? "" : card.action, role: "status", children: /* @__PURE__ */ u2("strong", { children: [
    text,
    busy
  ] }) });
}
function Last({ app, state }) {
  if (!state.status?.can_undo) return null;
  return /* @__PURE__ */ u2("p", { class: "cleaner-large-last", children: [
    /* @__PURE__ */ u2("span", { children: state.last && `last: ${state.last}` }),
    /* @__PURE__ */ u2("button", { ...OURS, type: "button", onClick: () => run(app, "undo"), children: [
      /* @__PURE__ */ u2("kbd", { children: "U" }),
      " undo"
    ] })
  ] });
}
function Alternatives({ app, card }) {
  return /* @__PURE__ */ u2("div", { class: "cleaner-alternatives", children: probable(card).map(([label, probability], number2) => /* @__PURE__ */ k("button", { ...OURS, type: "button", key: label, class: "cleaner-alternative", onClick: () => giveLabel(app, label) }, /* @__PURE__ */ u2("kbd", { children: number2 + 1 }), /* @__PURE__ */ u2("span", { children: label }), /* @__PURE__ */ u2("span", { children: percent(probability) }), /* @__PURE__ */ u2("span", { class: "cleaner-bar", style: { width: `${100 * (probability ?? 0)}%` } }))) });
}
function Compared({ images }) {
  return /* @__PURE__ */ u2(S, { children: [...new Set(images.map(({ title }) => title))].map((title) => /* @__PURE__ */ u2("section", { class: "cleaner-typical", children: [
    /* @__PURE__ */ u2("h3", { children: title }),
    images.filter((image) => image.title === title).map(({ url, path, caption }) => /* @__PURE__ */ u2("figure", { title: path, children: [
      /* @__PURE__ */ u2("img", { src: url, alt: path }),
      caption && /* @__PURE__ */ u2("figcaption", { children: caption })
    ] }, path))
  ] }, title)) });
}

// src/sidebar/figures.tsx
function FiguresView({ app, state }) {
  const { figures, page } = state;
  if (!figures || !page) return /* @__PURE__ */ u2("section", { class: "cleaner-figures", "aria-busy": "true", "aria-label": "Overview" });
  return /* @__PURE__ */ u2("section", { ...OURS, class: "cleaner-figures", "aria-label": `Overview of ${figures.split}`, children: [
    /* @__PURE__ */ u2(Matrix, { app, figures, page }),
    /* @__PURE__ */ u2(Losses, { state, figures })
  ] });
}
function Matrix({ app, figures, page }) {
  if (!figures.matrix) return null;
  const { labels, cells, left_out: leftOut } = figures.matrix;
  const most = Math.max(1, ...cells.filter(([given, other]) => given !== other).map(([, , count]) => count));
  const at = new Map(cells.map((cell) => [`${cell[0]} ${cell[1]}`, cell]));
  return /* @__PURE__ */ u2("div", { children: [
    /* @__PURE__ */ u2("h2", { children: [
      "Given and predicted",
      leftOut > 0 ? `: the ${labels.length} most confused` : ""
    ] }),
    /* @__PURE__ */ u2("div", { ...OURS, class: "cleaner-scroll", children: /* @__PURE__ */ u2("table", { class: "cleaner-matrix", onKeyDown: onMatrixKey, children: [
      /* @__PURE__ */ u2("thead", { children: /* @__PURE__ */ u2("tr", { children: [
        /* @__PURE__ */ u2("td", { class: "cleaner-corner", children: "given ↓ predicted →" }),
        labels.map((label) => /* @__PURE__ */ u2("th", { scope: "col", title: label, children: /* @__PURE__ */ u2("span", { children: label }) }, label))
      ] }) }),
      /* @__PURE__ */ u2("tbody", { children: labels.map((label, given) => /* @__PURE__ */ u2("tr", { children: [
        /* @__PURE__ */ u2("th", { scope: "row", title: label, children: label }),
        labels.map((other, predicted) => /* @__PURE__ */ u2("td", { children: /* @__PURE__ */ u2(Cell, { app, page, labels, cell: at.get(`${given} ${predicted}`), most }) }, other))
      ] }, label)) })
    ] }) }),
    leftOut > 0 && /* @__PURE__ */ u2("p", { class: "cleaner-faint", children: [
      leftOut.toLocaleString("en"),
      " wrong predictions are of other pairs."
    ] })
  ] });
}
function Cell({ app, page, labels, cell, most }) {
  if (!cell) return null;
  const [given, other, count, kept] = cell;
  const [label, predicted] = [labels[given] ?? "", labels[other] ?? ""];
  const text = `given ${label}, predicted ${predicted}: ${count}; ${kept} of them are listed`;
  const heat = given === other ? 0 : Math.round(8 + 37 * Math.sqrt(count / most));
  return /* @__PURE__ */ u2(
    "button",
    {
      ...OURS,
      type: "button",
      title: text,
      "aria-label": text,
      "aria-current": page.label === label && page.predicted === predicted,
      "data-given": label,
      "data-predicted": predicted,
      style: { "--heat": `${heat}%` },
      onClick: () => openList(app, { label, predicted }),
      children: count
    }
  );
}
function onMatrixKey(event) {
  const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  const cell = event.target.closest("td");
  const lines = [...cell?.closest("tbody")?.rows ?? []];
  if (!by || !cell) return;
  event.preventDefault();
  event.stopPropagation();
  const [down = 0, right = 0] = by;
  let [line, column] = [lines.indexOf(cell.parentNode) + down, cell.cellIndex + right];
  for (; lines[line]?.cells[column]; line += down, column += right) {
    const button = lines[line]?.cells[column]?.querySelector("button");
    if (button) return button.focus();
  }
}
function Losses({ state, figures }) {
  const { histogram, edges, not_finite: notFinite } = figures;
  const name = state.rows.find((row) => row.label === figures.label)?.name ?? figures.label;
  const most = Math.max(1, ...histogram);
  const texts = histogram.map((count, bin) => `${range(edges, bin)}: ${count}`);
  const words = texts.filter((_2, bin) => histogram[bin]).join("; ") || "unknown";
  const title = `Distribution of the ${state.rankedBy}: ${name}`;
  return /* @__PURE__ */ u2("div", { class: "cleaner-losses", children: [
    /* @__PURE__ */ u2("h2", { children: title }),
    /* @__PURE__ */ u2("div", { class: "cleaner-bars", role: "img", "aria-label": `${title}: ${words}`, children: histogram.map((count, bin) => /* @__PURE__ */ u2("span", { title: texts[bin], children: /* @__PURE__ */ u2("span", { style: { height: `${count > 0 ? Math.max(2, 100 * count / most) : 0}%` } }) }, edges[bin] ?? "last")) }),
    /* @__PURE__ */ u2("div", { class: "cleaner-edges", "aria-hidden": "true", children: histogram.length > 0 && edges.map((edge) => /* @__PURE__ */ u2("span", { children: String(edge).replace(/^0/, "") }, edge)) }),
    notFinite > 0 && /* @__PURE__ */ u2("p", { class: "cleaner-faint", children: [
      notFinite,
      " are not finite."
    ] }),
    histogram.length === 0 && /* @__PURE__ */ u2("p", { class: "cleaner-faint", children: "This scan has no losses of all images; a new one of the dataset has." })
  ] });
}
function range(edges, bin) {
  if (bin === 0) return `below ${edges[0]}`;
  return bin === edges.length ? `${edges[bin - 1]} and more` : `${edges[bin - 1]} to ${edges[bin]}`;
}

// src/sidebar/rows.tsx
var SEARCH_FROM = 30;
var VIRTUAL_FROM = 300;
var ROW_HEIGHT = 40;
var HEADING_HEIGHT = 20;
var LOWEST2 = 420;
var BEYOND = 10;
function shownRows(state) {
  const rows = state.rows.filter((row) => row.kept > 0 || row.scored !== null || row.label === state.page?.label);
  return found(rows, (row) => row.name, state.search);
}
var Rows = class extends C {
  state = { from: 0 };
  box = M();
  field = M();
  followed = "";
  componentDidMount() {
    this.follow();
  }
  componentDidUpdate(before) {
    if (before.state.search !== this.props.state.search) this.toTop();
    this.follow();
  }
  /** Scroll to the open list when it changes. */
  follow() {
    const { state } = this.props;
    const [open, box] = [state.page?.label ?? "", this.box.current];
    if (open === this.followed || !box || state.rows.length === 0) return;
    this.followed = open;
    const rows = shownRows(state);
    const at = rows.findIndex((row) => row.label === open);
    if (at < 0) return;
    if (rows.length < VIRTUAL_FROM) {
      box.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
      return;
    }
    const above = headingsOf(rows, state.search).filter((heading) => heading.at <= at);
    const top = at * ROW_HEIGHT + above.length * HEADING_HEIGHT;
    const height = box.clientHeight;
    if (top < box.scrollTop || top + ROW_HEIGHT > box.scrollTop + height) box.scrollTop = top - height / 2;
  }
  toTop(then) {
    if (this.box.current) this.box.current.scrollTop = 0;
    this.setState({ from: 0 }, then);
  }
  onScroll = () => {
    const from = Math.floor((this.box.current?.scrollTop ?? 0) / ROW_HEIGHT);
    if (from !== this.state.from) this.setState({ from });
  };
  /** Enter opens the first list that is found; the arrow goes to it. */
  onSearchKey = (event) => {
    if (!["Enter", "ArrowDown"].includes(event.key) || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    const { app } = this.props;
    const first = shownRows(app.state)[0];
    if (!first) return;
    if (event.key === "ArrowDown") return this.toTop(() => this.box.current?.querySelector("button")?.focus());
    app.set({ search: "" });
    openList(app, { label: first.label });
  };
  /** The arrow keys go from row to row, and from the first one back to the search. */
  onRowKey = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...this.box.current?.querySelectorAll("button") ?? []];
    const at = buttons.findIndex((button) => button.contains(event.target));
    if (!by || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = buttons[at + by] ?? (by < 0 ? this.field.current : null);
    next?.focus();
  };
  search({ app, state }) {
    if (state.rows.length < SEARCH_FROM) return null;
    return /* @__PURE__ */ u2("form", { action: "/search", onSubmit: (event) => event.preventDefault(), children: /* @__PURE__ */ u2(
      "input",
      {
        ...OURS,
        ref: this.field,
        type: "search",
        class: "cleaner-search",
        placeholder: "find a class",
        "aria-label": "Find a class",
        autocomplete: "off",
        value: state.search,
        onInput: (event) => app.set({ search: event.currentTarget.value }),
        onKeyDown: this.onSearchKey
      }
    ) });
  }
  render(props) {
    const { app, state } = props;
    const rows = shownRows(state);
    const isVirtual = rows.length >= VIRTUAL_FROM;
    const first = isVirtual ? Math.min(this.state.from, rows.length - 1) : 0;
    const from = Math.max(0, first - BEYOND);
    const seen = Math.ceil(Math.max(innerHeight, LOWEST2) / ROW_HEIGHT);
    const to = isVirtual ? first + seen + BEYOND : rows.length;
    const drawn = rows.slice(from, to);
    const open = drawn.find((row) => row.label === state.page?.label);
    const stop = open ?? rows[first];
    const parts = drawn.map((row) => /* @__PURE__ */ u2(RowView, { app, row, isOpen: row === open, isStop: row === stop }, row.label));
    const headings = headingsOf(rows, state.search);
    const isDrawn = ({ at }) => at >= from && at < to;
    for (const { at, node } of headings.filter(isDrawn).reverse()) parts.splice(at - from, 0, node);
    const heightOf = (parts2) => parts2.length * HEADING_HEIGHT;
    const above = from * ROW_HEIGHT + heightOf(headings.filter(({ at }) => at < from));
    const below = Math.max(0, rows.length - to) * ROW_HEIGHT + heightOf(headings.filter(({ at }) => at >= to));
    return /* @__PURE__ */ u2(S, { children: [
      this.search(props),
      /* @__PURE__ */ u2(
        "div",
        {
          ...OURS,
          class: `cleaner-rows${isVirtual ? " cleaner-virtual" : ""}`,
          ref: this.box,
          onScroll: this.onScroll,
          onKeyDown: this.onRowKey,
          children: [
            isVirtual && /* @__PURE__ */ u2("div", { style: { height: `${above}px` } }),
            parts,
            isVirtual && /* @__PURE__ */ u2("div", { style: { height: `${below}px` } }),
            rows.length === 0 && /* @__PURE__ */ u2("p", { class: "cleaner-faint", children: "no such class" })
          ]
        }
      )
    ] });
  }
};
var SHARES = /* @__PURE__ */ u2("p", { class: "cleaner-shares", "aria-hidden": "true", children: "predicted otherwise" }, "\\u0000shares");
var IMAGES = /* @__PURE__ */ u2("p", { class: "cleaner-shares cleaner-part", "aria-hidden": "true", children: "Images" }, "\\u0000images");
function headingsOf(rows, search) {
  const headings = [{ at: firstShare(rows), node: SHARES }];
  if (search === "") headings.push({ at: rows.findIndex(({ label }) => OF_IMAGES.test(label)), node: IMAGES });
  return headings.filter(({ at }) => at >= 0);
}
var OF_IMAGES = /^\0(unreadable$|issue:)/;
function shareOf(row) {
  return row.scored && row.otherwise !== null ? `${Math.round(100 * row.otherwise / row.scored)} %` : "";
}
function firstShare(rows) {
  return rows.findIndex((row) => shareOf(row) !== "");
}
var RowView = class extends C {
  shouldComponentUpdate(next) {
    const { row, isOpen, isStop } = this.props;
    return next.row !== row || next.isOpen !== isOpen || next.isStop !== isStop;
  }
  render({ app, row, isOpen, isStop }) {
    const share = shareOf(row);
    const done = row.kept > 0 ? row.decided / row.kept : 0;
    const count = row.kept.toLocaleString("en");
    const words = share ? `${share} predicted otherwise` : `${count} image${row.kept === 1 ? "" : "s"}`;
    return /* @__PURE__ */ u2(
      "button",
      {
        ...OURS,
        type: "button",
        class: "cleaner-list",
        "data-label": row.label,
        "aria-current": isOpen,
        "aria-label": `${row.name}, ${words}`,
        title: rowTitle(row),
        tabIndex: isStop ? 0 : -1,
        onClick: () => openList(app, { label: row.label }),
        children: [
          /* @__PURE__ */ u2("span", { class: "cleaner-list-name", children: row.name }),
          /* @__PURE__ */ u2("span", { class: "cleaner-faint", title: words, children: share || count }),
          /* @__PURE__ */ u2("span", { class: "cleaner-progress", "aria-hidden": "true", children: /* @__PURE__ */ u2("span", { style: { width: `${100 * done}%` } }) })
        ]
      }
    );
  }
};
function rowTitle(row) {
  const lines = [row.name, `${row.decided} of ${row.kept} decided`];
  if (row.scored !== null) lines.push(`${row.scored.toLocaleString("en")} scored`);
  if (row.otherwise !== null) lines.push(`${row.otherwise.toLocaleString("en")} predicted otherwise`);
  if (row.mean !== null) lines.push(`mean ${row.mean.toFixed(3)}`);
  return lines.join("\n");
}

// src/sidebar/sidebar.tsx
function Sidebar({ app, state }) {
  const splits = state.page?.splits ?? [];
  const isFigures = state.tab === "figures";
  return /* @__PURE__ */ u2(S, { children: [
    state.hasDrawer && /* @__PURE__ */ u2("div", { class: "cleaner-beside", onClick: () => closeDrawer(app) }),
    /* @__PURE__ */ u2(
      "nav",
      {
        ...OURS,
        class: `cleaner-sidebar${state.hasDrawer ? " cleaner-drawer" : ""}${state.isFolded ? " cleaner-folded" : ""}`,
        "aria-label": "Lists of images",
        children: [
          splits.length > 1 && /* @__PURE__ */ u2("label", { class: "cleaner-split", children: [
            "Split",
            /* @__PURE__ */ u2("select", { ...OURS, value: state.page?.split, onChange: (event) => openSplit(app, event.currentTarget), children: splits.map((split) => /* @__PURE__ */ u2("option", { value: split, children: split }, split)) })
          ] }),
          /* @__PURE__ */ u2(Rows, { app, state }),
          state.status?.history && /* @__PURE__ */ u2("p", { class: "cleaner-history", children: state.status.history }),
          hasOverview(state) && /* @__PURE__ */ u2(
            "button",
            {
              ...OURS,
              type: "button",
              class: "cleaner-tab",
              "aria-pressed": isFigures,
              onClick: () => showFigures(app, !isFigures),
              children: "Overview"
            }
          )
        ]
      }
    )
  ] });
}
function hasOverview({ rows, tab }) {
  return tab === "figures" || rows.length === 0 || rows.some(({ scored }) => scored !== null);
}
function openSplit(app, select) {
  openList(app, { label: app.state.page?.label ?? "", split: select.value });
}
function showFigures(app, isShown) {
  app.set({ tab: isShown ? "figures" : "images", figures: null, hasDrawer: false });
  if (isShown) app.channel.ask("figures", {});
  else app.focus();
}
function closeDrawer(app) {
  app.set({ hasDrawer: false });
  app.focus();
}

// src/view.tsx
var AT_END = { role: "group", tabIndex: 0, "aria-label": "Images of the page" };
function View({ app, state }) {
  const { page } = state;
  return /* @__PURE__ */ u2(S, { children: [
    page ? /* @__PURE__ */ u2(Header, { app, state, page }) : /* @__PURE__ */ u2("div", { class: "cleaner-header" }),
    /* @__PURE__ */ u2("div", { class: "cleaner-body", children: [
      /* @__PURE__ */ u2(Sidebar, { app, state }),
      /* @__PURE__ */ u2("div", { class: "cleaner-main", onKeyDown: (event) => onKey(app, event), children: [
        /* @__PURE__ */ u2("div", { ...OURS, class: "cleaner-images", "aria-busy": page === null, ...isAtEnd(state) && AT_END, children: [
          page && state.tab === "images" && state.cards.size > 0 && /* @__PURE__ */ u2(Grid, { app, state, page }),
          page && state.tab === "images" && /* @__PURE__ */ u2(Empty, { app, state, page }),
          state.tab === "figures" && /* @__PURE__ */ u2(FiguresView, { app, state })
        ] }),
        state.tab === "images" && !state.large && /* @__PURE__ */ u2(End, { app, state }),
        !state.large && /* @__PURE__ */ u2(Notices, { app, state })
      ] })
    ] }),
    /* @__PURE__ */ u2(Footer, { app, state }),
    /* @__PURE__ */ u2("p", { class: "cleaner-hidden", role: "status", "aria-live": "polite", children: state.announced }),
    state.large && /* @__PURE__ */ u2(LargeView, { app, state }),
    !state.large && /* @__PURE__ */ u2(Chooser, { app, state }),
    state.hasHelp && /* @__PURE__ */ u2(Help, { app, state })
  ] });
}
function onKey(app, event) {
  const target = event.target;
  if (target.closest("input, select, textarea")) return;
  if (target.closest("button") && ["Enter", " "].includes(event.key)) return;
  if (!press(app, event)) return;
  event.preventDefault();
  event.stopPropagation();
  if (!app.state.large) app.el.scrollIntoView({ block: "nearest" });
}

// src/review.tsx
var NEWS_EVERY = 2e3;
var LOOK_EVERY = 500;
var RESIZED_AFTER = 150;
var CONTROLS = "a, button, dialog, input, label, select, summary, textarea, [role=alert], [role=gridcell], [role=option], code, .cleaner-end p, .cleaner-large-name, .cleaner-alert p";
function firstState(model) {
  return {
    ...emptyState(model.get("task")),
    rankedBy: model.get("ranked_by"),
    vocab: model.get("vocab"),
    size: savedSize()
  };
}
function openApp(model, el) {
  let state = firstState(model);
  let isDrawing = false;
  const app = {
    el,
    held: [],
    toLast: /* @__PURE__ */ new Set(),
    isLost: false,
    behind: /* @__PURE__ */ new Map(),
    deafUntil: 0,
    get state() {
      return state;
    },
    channel: openChannel({
      send: (message) => model.send(message),
      onGiveUp: (asked) => giveUp(app, asked),
      patience: model.get("patience_ms"),
      now: () => performance.now()
    }),
    set(change) {
      let before = state;
      state = { ...state, ...change };
      if (isDrawing) return;
      isDrawing = true;
      try {
        while (before !== state) {
          const next = state;
          follow(app, before);
          if (next.size !== before.size || next.isFolded !== before.isFolded) fitSoon(app);
          before = next;
          if (next === state) R(/* @__PURE__ */ u2(View, { app, state: next }), el);
        }
      } finally {
        isDrawing = false;
      }
    },
    focus: () => focusCursor(app)
  };
  return app;
}
function focusCursor({ el, state }) {
  if (state.choosing || state.hasHelp) return;
  const node = el.querySelector(
    state.large ? ".cleaner-large" : ".cleaner-at, .cleaner-end, .cleaner-empty"
  );
  if (!node || node.contains(document.activeElement)) {
    if (document.activeElement !== node && !document.activeElement?.closest(".cleaner-tools, .cleaner-select")) return;
  }
  node?.focus({ preventScroll: true });
  if (!state.large) node?.scrollIntoView({ block: "nearest", inline: "nearest" });
}
var waiting = /* @__PURE__ */ new WeakMap();
function fitSoon(app) {
  clearTimeout(waiting.get(app));
  waiting.set(
    app,
    setTimeout(() => refit(app), RESIZED_AFTER)
  );
}
function refit(app) {
  const { layout, issueLayout, page } = app.state;
  const [before, next] = [wanted(app), measuredLayouts(app)];
  if (next.layout.width <= 0 || JSON.stringify(next) === JSON.stringify({ layout, issueLayout })) return;
  app.set(next);
  if (!page) return;
  const { page_size, columns, rows, pixels: pixels2 } = wanted(app);
  const isSame = page_size === page.page_size && columns === before.columns && rows === before.rows;
  if (!isSame || pixels2 > before.pixels) askToFit(app);
}
function keepKeys(app, event) {
  const target = event.target;
  const control = target.closest(CONTROLS);
  if (!app.el.contains(target) || control && app.el.contains(control)) return;
  if (target.scrollHeight > target.clientHeight && event.offsetX > target.clientWidth) return;
  event.preventDefault();
  event.stopPropagation();
  app.focus();
}
function look(app) {
  const oldest = app.channel.waiting()[0];
  const isSilent = oldest !== void 0 && performance.now() - oldest.since > HOLD_AFTER;
  if (isSilent && !app.state.isSilent) app.set({ isSilent });
}
function askNews(app) {
  const isSeen = document.visibilityState === "visible" && app.el.isConnected;
  if (isSeen && app.state.page && app.channel.waiting().length === 0) app.channel.ask("news", {});
}
var review_default = {
  render({ model, el }) {
    el.classList.add("cleaner", "cleaner-review");
    el.classList.toggle("cleaner-own-page", isOwnPage());
    if (isOwnPage() && !document.querySelector("main, [role=main]")) el.setAttribute("role", "main");
    const app = openApp(model, el);
    const onMessage = (answer, buffers) => take(app, answer, buffers);
    const onPointer = (event) => keepKeys(app, event);
    const onSeen = () => askNews(app);
    model.on("msg:custom", onMessage);
    document.addEventListener("mousedown", onPointer, { capture: true });
    document.addEventListener("visibilitychange", onSeen);
    app.set({});
    const stops = [];
    const resized = new ResizeObserver(() => {
      if (stops.length === 0 && el.isConnected) stops.push(followTheme(el), followRoom(el));
      if (app.state.page) fitSoon(app);
      else begin(app);
    });
    resized.observe(el);
    const timers2 = [setInterval(onSeen, NEWS_EVERY), setInterval(() => look(app), LOOK_EVERY)];
    return () => {
      for (const timer of timers2) clearInterval(timer);
      resized.disconnect();
      for (const stop of stops) stop();
      document.removeEventListener("mousedown", onPointer, { capture: true });
      document.removeEventListener("visibilitychange", onSeen);
      model.off("msg:custom", onMessage);
      app.channel.close();
      R(null, el);
    };
  }
};
function begin(app) {
  const next = measuredLayouts(app);
  if (next.layout.width <= 0 || app.channel.isTurning()) return;
  app.set(next);
  app.channel.ask("ready", wanted(app));
}
export {
  review_default as default
};
