// The points on a WebGL2 canvas: discs and rings with soft edges, one GL point each. A glide is one
// uniform: both places of a point lie on the GPU, and nothing is computed per frame but the picture.

const VERTEX = `#version 300 es
in vec2 a_from;
in vec2 a_to;
in vec4 a_color;
in vec3 a_look;           // open, dim, fresh
uniform vec4 u_view;      // middle in data units; data units to clip space
uniform float u_progress; // 0 at a_from, 1 at a_to
uniform float u_size;     // diameter in device pixels
uniform float u_stroke;   // of a ring, in device pixels
uniform vec2 u_dim;       // share of colour and of coverage a dim point keeps
uniform vec3 u_haze;      // what the rest of its colour is
flat out vec4 v_color;
flat out vec3 v_edge;     // width of the square, outer and inner radius, all in device pixels
void main() {
  gl_Position = vec4((mix(a_from, a_to, u_progress) - u_view.xy) * u_view.zw, 0.0, 1.0);
  float size = u_size * mix(1.0, 0.85, a_look.y);
  float square = ceil(size) + 1.0;
  gl_PointSize = square;
  float outer = 0.5 * size;
  v_edge = vec3(square, outer + 0.5, a_look.x > 0.5 ? max(outer - u_stroke, 0.0) - 0.5 : -9.0);
  vec3 color = mix(a_color.rgb, mix(u_haze, a_color.rgb, u_dim.x), a_look.y);
  float alpha = a_color.a * mix(1.0, u_dim.y, a_look.y) * mix(1.0, u_progress, a_look.z);
  v_color = vec4(color * alpha, alpha);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
flat in vec4 v_color;
flat in vec3 v_edge;
out vec4 color;
void main() {
  float radius = distance(gl_PointCoord, vec2(0.5)) * v_edge.x;
  color = v_color * (clamp(v_edge.y - radius, 0.0, 1.0) * clamp(radius - v_edge.z, 0.0, 1.0));
}`;

const ATTRIBUTES = ["a_from", "a_to", "a_color", "a_look"];
const UNIFORMS = ["u_view", "u_progress", "u_size", "u_stroke", "u_dim", "u_haze"];
const CONTEXT = { alpha: true, premultipliedAlpha: true, antialias: false, depth: false, stencil: false };
const STROKE = 1.4; // CSS pixels, of a ring
const DIM = { light: [0.3, 0.4], dark: [0.35, 0.45] };
const HAZE = { light: [0.78, 0.8, 0.83], dark: [0.33, 0.36, 0.4] };

export class Renderer {
  // Throws when the browser has no WebGL2 for us.
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", CONTEXT);
    if (!this.gl) throw new Error("no WebGL2");
    this.build();
  }

  get lost() {
    return this.gl.isContextLost();
  }

  // All that lives on the GPU; again after it was lost.
  build() {
    const { gl } = this;
    this.stale = { places: true, looks: true };
    this.drawn = 0;
    this.program = linked(gl);
    this.uniforms = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(this.program, name)]));
    this.array = gl.createVertexArray();
    gl.bindVertexArray(this.array);
    this.buffers = ATTRIBUTES.map((name, location) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      if (location < 2) gl.vertexAttribPointer(location, 2, gl.FLOAT, false, 8, 0);
      else gl.vertexAttribPointer(location, name === "a_look" ? 3 : 4, gl.UNSIGNED_BYTE, true, 4, 0);
      return buffer;
    });
    this.indices = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.indices);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
  }

  // Places or looks are other ones: they are uploaded with the next picture.
  renew(what) {
    this.stale[what] = true;
  }

  upload(points) {
    const { gl, stale } = this;
    const fill = (place, content) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[place]);
      gl.bufferData(gl.ARRAY_BUFFER, content, gl.DYNAMIC_DRAW);
    };
    if (stale.places) {
      fill(0, points.from);
      fill(1, points.to);
    }
    if (stale.places || stale.looks) {
      const { tints, looks } = points.bytes();
      fill(2, tints);
      fill(3, looks);
      const order = points.order();
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
      this.drawn = order.length;
    }
    this.stale = { places: false, looks: false };
  }

  // `size` and `margin`, drawn beyond the view on each side, in CSS pixels; `ratio` device pixels to
  // one of them.
  draw(points, camera, { size, ratio, margin, dark }) {
    const { gl, canvas, uniforms } = this;
    const [width, height] = [camera.width, camera.height].map((side) => Math.round((side + 2 * margin) * ratio));
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    this.upload(points);
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.drawn) return;
    const pixels = 2 * camera.scale * ratio;
    const look = dark ? "dark" : "light";
    gl.useProgram(this.program);
    gl.uniform4f(uniforms.u_view, camera.x, camera.y, pixels / width, pixels / height);
    gl.uniform1f(uniforms.u_progress, points.glide.eased);
    gl.uniform1f(uniforms.u_size, size * ratio);
    gl.uniform1f(uniforms.u_stroke, STROKE * ratio);
    gl.uniform2fv(uniforms.u_dim, DIM[look]);
    gl.uniform3fv(uniforms.u_haze, HAZE[look]);
    gl.drawElements(gl.POINTS, this.drawn, gl.UNSIGNED_INT, 0);
  }

  // Gives all back to the GPU, the context itself, too: browsers keep sixteen of them at most.
  dispose() {
    const { gl } = this;
    gl.deleteProgram(this.program);
    gl.deleteVertexArray(this.array);
    [...this.buffers, this.indices].forEach((buffer) => gl.deleteBuffer(buffer));
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    Object.assign(this.canvas, { width: 0, height: 0 });
  }
}

function linked(gl) {
  const program = gl.createProgram();
  const parts = [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]].map(([kind, text]) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    return shader;
  });
  ATTRIBUTES.forEach((name, location) => gl.bindAttribLocation(program, location, name));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    const why = parts.map((shader) => gl.getShaderInfoLog(shader)).join(" ");
    throw new Error(`the point shader does not link: ${why} ${gl.getProgramInfoLog(program)}`);
  }
  parts.forEach((shader) => gl.deleteShader(shader));
  return program;
}
